import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseContentLength, parseContentRange, rangeHeader } from '../../src/origin/content-range.ts';

test('a Content-Range is read half-open', () => {
  assert.deepEqual(parseContentRange('bytes 0-9/10'), { span: { start: 0, end: 10 }, size: 10 });
  assert.deepEqual(parseContentRange('Bytes 5-5/*'), { span: { start: 5, end: 6 }, size: undefined });
  assert.deepEqual(parseContentRange('bytes */0'), { span: null, size: 0 });
  assert.deepEqual(parseContentRange(' bytes 1-2 / 10 '), { span: { start: 1, end: 3 }, size: 10 });
});

test('what is no byte range is null', () => {
  for (const value of [
    undefined,
    '',
    'bytes',
    'bytes 9-0/10',
    'bytes 0-10/10',
    'items 0-1/2',
    'bytes 0-1',
    'bytes -1/2',
    'bytes 0-1/-2',
    'bytes 0-1/99999999999999999999',
    'bytes 0-99999999999999999999/*',
    'bytes 0-1/2, bytes 3-4/5',
  ]) {
    assert.equal(parseContentRange(value), null, String(value));
  }
});

test('what is asked comes back from a truthful answer', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 1e9 }), (start, length) => {
      const span = { start, end: start + length };
      assert.equal(rangeHeader(span), `bytes=${start}-${start + length - 1}`);
      const answer = `bytes ${rangeHeader(span).slice(6)}/${span.end}`;
      assert.deepEqual(parseContentRange(answer), { span, size: span.end });
    }),
  );
  assert.equal(rangeHeader({ start: 7, end: Number.POSITIVE_INFINITY }), 'bytes=7-');
});

test('a length is digits, nothing else', () => {
  assert.equal(parseContentLength('0'), 0);
  assert.equal(parseContentLength(' 12 '), 12);
  for (const value of [undefined, '', '-1', '1.5', '1, 1', '0x10', '1e3', '99999999999999999999'])
    assert.equal(parseContentLength(value), undefined, String(value));
});
