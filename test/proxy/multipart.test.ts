import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Chunk } from '../../src/blob/source.ts';
import { isFileSlice } from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import { frameMultipart, multipartBody, randomBoundary } from '../../src/proxy/multipart.ts';

const blob = Buffer.from(Array.from({ length: 500 }, (_, i) => (i * 7) % 256));

async function* chunksOf({ start, end }: Span, step: number): AsyncIterable<Chunk> {
  for (let at = start; at < end; at += step) yield blob.subarray(at, Math.min(at + step, end));
}

async function read(body: AsyncIterable<Chunk>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of body) {
    assert.ok(!isFileSlice(chunk));
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** Takes a body apart as RFC 2046 §5.1.1 describes it, from the Content-Type alone. */
function parts(body: Buffer, contentType: string): { headers: Record<string, string>; bytes: Buffer }[] {
  const boundary = /^multipart\/byteranges; boundary=([^;"\s]+)$/.exec(contentType)?.[1];
  assert.ok(boundary !== undefined);
  const delimiter = `\r\n--${boundary}`;
  const text = `\r\n${body.toString('latin1')}`;
  const [preamble, ...rest] = text.split(delimiter);
  assert.equal(preamble, '');
  assert.equal(rest.pop(), '--\r\n');
  return rest.map((part) => {
    const [head = '', ...tail] = part.split('\r\n\r\n');
    assert.ok(head.startsWith('\r\n'));
    const headers = Object.fromEntries(
      head
        .slice(2)
        .split('\r\n')
        .map((line) => line.split(': ') as [string, string]),
    );
    return { headers, bytes: Buffer.from(tail.join('\r\n\r\n'), 'latin1') };
  });
}

describe('multipart', () => {
  it('has a boundary of its own for each answer, without a colon', () => {
    assert.notEqual(randomBoundary(), randomBoundary());
    assert.match(randomBoundary(), /^[0-9a-f]{32}$/);
  });

  it('gives one part for every range, in the requested order, and the length it announced', async () => {
    const span = fc
      .tuple(fc.nat(blob.length - 1), fc.integer({ min: 1, max: 40 }))
      .map(([start, length]) => ({ start, end: Math.min(start + length, blob.length) }));
    await fc.assert(
      fc.asyncProperty(
        fc.array(span, { minLength: 1, maxLength: 64 }),
        fc.integer({ min: 1, max: 50 }),
        async (spans, step) => {
          const framing = frameMultipart(spans, { size: blob.length, mediaType: 'text/x-blob' });
          const body = await read(multipartBody(framing, spans, (one) => chunksOf(one, step)));
          assert.equal(body.length, framing.length);
          assert.deepEqual(
            parts(body, framing.contentType),
            spans.map(({ start, end }) => ({
              headers: {
                'Content-Type': 'text/x-blob',
                'Content-Range': `bytes ${start}-${end - 1}/${blob.length}`,
              },
              bytes: blob.subarray(start, end),
            })),
          );
        },
      ),
      { numRuns: 100 },
    );
  });

  const two = [
    { start: 0, end: 10 },
    { start: 20, end: 30 },
  ];
  const framing = frameMultipart(two, { size: blob.length, mediaType: 'a/b', boundary: 'x' });

  it('opens a part only when its turn comes, and gives no framing before the first chunk is there', async () => {
    const opened: Span[] = [];
    const body = multipartBody(framing, two, (span) => {
      opened.push(span);
      return span.start === 0 ? chunksOf(span, 100) : failing();
    });
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.next();
    assert.deepEqual(opened, [two[0]]);
    await assert.rejects(iterator.next(), /no such part/);
    assert.deepEqual(opened, two);
  });

  it('closes the open part and lets go of a chunk held back when it is left early', async () => {
    let released = 0;
    let closed = 0;
    async function* slices(): AsyncIterable<Chunk> {
      try {
        yield { fd: -1, offset: 0, length: 10, release: () => (released += 1) };
      } finally {
        closed += 1;
      }
    }
    const iterator = multipartBody(framing, two, slices)[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.return?.();
    assert.deepEqual({ released, closed }, { released: 1, closed: 1 });
    assert.equal((await iterator.next()).done, true);
  });

  it('lets go of a chunk that arrives after it was left', async () => {
    let released = 0;
    const arrival = Promise.withResolvers<IteratorResult<Chunk>>();
    const part: AsyncIterator<Chunk> = { next: () => arrival.promise };
    const iterator = multipartBody(framing, two, () => ({ [Symbol.asyncIterator]: () => part }))[
      Symbol.asyncIterator
    ]();
    const pending = iterator.next();
    await iterator.return?.();
    arrival.resolve({
      done: false,
      value: { fd: -1, offset: 0, length: 10, release: () => (released += 1) },
    });
    assert.equal((await pending).done, true);
    assert.equal(released, 1);
  });
});

function failing(): AsyncIterable<Chunk> {
  return {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('no such part')) }),
  };
}
