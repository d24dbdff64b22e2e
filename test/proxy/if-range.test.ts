import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../src/blob/digest.ts';
import { entityTag, ifNoneMatchHits, ifRangeHolds } from '../../src/proxy/if-range.ts';

const etag = entityTag(digestOf(Buffer.from('a blob')));

describe('ifRangeHolds', () => {
  const cases: [string | undefined, boolean][] = [
    [undefined, true],
    [etag, true],
    [` ${etag}\t`, true],
    [`W/${etag}`, false],
    [etag.slice(1, -1), false],
    ['"sha256:0000"', false],
    ['Wed, 21 Oct 2015 07:28:00 GMT', false],
    ['', false],
    [`${etag}, "other"`, false],
    ['*', false],
  ];
  for (const [header, expected] of cases) {
    it(`${JSON.stringify(header)} → ${expected}`, () => assert.equal(ifRangeHolds(header, etag), expected));
  }
});

describe('ifNoneMatchHits', () => {
  const cases: [string | undefined, boolean][] = [
    [undefined, false],
    ['*', true],
    [etag, true],
    [`W/${etag}`, true],
    [`"a", W/"b" ,${etag}`, true],
    [`"x,${etag.slice(1, -1)}"`, false],
    ['"a", "b"', false],
    [etag.slice(1, -1), false],
    ['', false],
  ];
  for (const [header, expected] of cases) {
    it(`${JSON.stringify(header)} → ${expected}`, () =>
      assert.equal(ifNoneMatchHits(header, etag), expected));
  }
});
