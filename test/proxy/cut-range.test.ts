import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../src/errors.ts';
import { headerValue } from '../../src/origin/headers.ts';
import { cutRange, spanOf } from '../../src/proxy/cut-range.ts';

const answer = (status: number, ...rawHeaders: string[]) => ({
  status,
  rawHeaders,
  header: (name: string) => headerValue(rawHeaders, name),
});
const whole = answer(200, 'Content-Type', 'a/b', 'content-length', '1000', 'ETag', '"x"');
const get = (range?: string, ifRange?: string, method = 'GET') => ({ method, range, ifRange });

describe('a whole answer to a range', () => {
  it('is cut to it', () => {
    const { status, rawHeaders, span } = cutRange(get('bytes=0-0'), whole, true);
    assert.equal(status, 206);
    assert.deepEqual(span, { start: 0, end: 1 });
    assert.deepEqual(rawHeaders, [
      ...['Content-Type', 'a/b', 'ETag', '"x"'],
      ...['Content-Length', '1', 'Content-Range', 'bytes 0-0/1000', 'Accept-Ranges', 'bytes'],
    ]);
    assert.deepEqual(cutRange(get('bytes=990-2000'), whole, false).span, { start: 990, end: 1000 });
    assert.deepEqual(cutRange(get('bytes=-5'), whole, false).span, { start: 995, end: 1000 });
    assert.deepEqual(cutRange(get('bytes=7-'), whole, false).span, { start: 7, end: 1000 });
  });

  it('past its end is 416 with the size', () => {
    const { status, rawHeaders } = cutRange(get('bytes=1000-1001'), whole, true);
    assert.equal(status, 416);
    assert.equal(headerValue(rawHeaders, 'content-range'), 'bytes */1000');
    assert.equal(headerValue(rawHeaders, 'content-length'), '0');
  });

  it('of unknown length is refused where it would be misread, and passed on where not', () => {
    const chunked = answer(200, 'Transfer-Encoding', 'chunked');
    assert.throws(
      () => cutRange(get('bytes=0-9'), chunked, true),
      (error) => hasCode(error, 'origin-broken'),
    );
    assert.equal(cutRange(get('bytes=0-9'), chunked, false).status, 200);
  });
});

it('everything else stays as it is', () => {
  const cases = [
    [get(), whole],
    [get('bytes=0-9', '"x"'), whole],
    [get('bytes=0-9', undefined, 'HEAD'), whole],
    [get('bytes=0-9,20-29'), whole],
    [get('items=0-9'), whole],
    [get('bytes=0-9'), answer(206, 'Content-Range', 'bytes 0-9/1000')],
    [get('bytes=0-9'), answer(302, 'Location', '/x')],
    [get('bytes=0-9'), answer(404)],
  ] as const;
  for (const [request, given] of cases) {
    const { status, rawHeaders, span } = cutRange(request, given, true);
    assert.equal(status, given.status);
    assert.equal(rawHeaders, given.rawHeaders);
    assert.equal(span, undefined);
  }
});

it('a span of a body is the same however the body comes', async () => {
  const bytes = Buffer.from(Array.from({ length: 200 }, (_, i) => i));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 12 }),
      fc.integer({ min: 0, max: 200 }),
      fc.integer({ min: 0, max: 200 }),
      async (lengths, one, two) => {
        const span = { start: Math.min(one, two), end: Math.max(one, two) };
        const chunks: Buffer[] = [];
        let at = 0;
        for (const length of [...lengths, 200]) {
          if (at < 200) chunks.push(bytes.subarray(at, Math.min(200, at + length)));
          at += length;
        }
        const got: Buffer[] = [];
        for await (const chunk of spanOf(Readable.from(chunks), span)) got.push(chunk);
        assert.ok(Buffer.concat(got).equals(bytes.subarray(span.start, span.end)));
      },
    ),
  );
});
