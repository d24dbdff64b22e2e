import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasCode, OriginRefusal } from '../../src/errors.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { listening } from '../support/listening.ts';
import { seededBytes, startOrigin } from '../support/origin.ts';
import { bytesOf, entry, REPOSITORY, rig } from './support.ts';

const SIZE = 2_500_000;
const BYTES = seededBytes('resume', { start: 0, end: SIZE });
const STALL_MS = 40;

async function setUp(options: Parameters<typeof startOrigin>[0] = {}) {
  const origin = await startOrigin(options);
  const blob = origin.repository(REPOSITORY).addBlob(BYTES);
  const parts = rig(origin, { stallMs: STALL_MS });
  return {
    ...parts,
    origin,
    digest: blob.digest,
    async [Symbol.asyncDispose]() {
      await parts.close();
      await origin.close();
    },
  };
}

const isBroken = (error: unknown): boolean => hasCode(error, 'origin-broken');

for (const [name, action] of Object.entries({
  'a reset': { resetAtByte: 1_000_000 },
  'an early clean end': { endAtByte: 1_000_000 },
  'a stall': { stallAtByte: 1_000_000 },
})) {
  test(`${name} is resumed at the right offset, for a part and for a whole body`, async () => {
    await using parts = await setUp();
    for (const span of [
      { start: 0, end: Number.POSITIVE_INFINITY },
      { start: 500_000, end: 2_400_000 },
    ]) {
      parts.origin.reset();
      parts.origin.fault({ match: { nth: 1 }, action });
      const bytes = await parts.read(parts.digest, span);
      assert.ok(bytes.equals(BYTES.subarray(span.start, span.end)));
      const [first, second, ...more] = parts.origin.requests;
      assert.equal(more.length, 0);
      const from = Number(/^bytes=(\d+)-/.exec(second?.range ?? '')?.[1]);
      // A reset takes with it what the kernel had not handed over.
      assert.ok(from > span.start && from <= span.start + 1_000_000, `${first?.range} then ${second?.range}`);
      assert.ok(second?.range?.endsWith(`-${Math.min(span.end, SIZE) - 1}`));
    }
    assert.equal(await parts.value('damselfly_origin_retries_total', { reason: 'body' }), 2);
  });
}

test('wherever bodies are cut and however, the bytes are exact and no byte is asked for twice', async () => {
  await using parts = await setUp();
  const cut = fc.record({
    how: fc.constantFrom('endAtByte', 'resetAtByte', 'stallAtByte'),
    at: fc.oneof(fc.nat(SIZE), fc.integer({ min: 65_536, max: 400_000 })),
  });
  const start = fc.nat(SIZE - 1);
  await fc.assert(
    fc.asyncProperty(
      fc.array(cut, { maxLength: 3 }),
      start,
      fc.integer({ min: 1, max: SIZE }),
      async (cuts, from, length) => {
        parts.origin.reset();
        cuts.forEach(({ how, at }, i) => {
          parts.origin.fault({ match: { where: ({ id }) => id === first + i }, action: { [how]: at } });
        });
        const first = (parts.origin.requests.at(-1)?.id ?? lastId) + 1;
        const span = { start: from, end: Math.min(SIZE, from + length) };
        const read = await parts.open(parts.digest, span, { size: SIZE });
        const bytes = await bytesOf(read);
        lastId = parts.origin.requests.at(-1)?.id ?? lastId;
        assert.deepEqual(read.span, span);
        assert.ok(bytes.equals(BYTES.subarray(span.start, span.end)));
        const starts = parts.origin.requests.map(({ range }) =>
          Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1]),
        );
        assert.deepEqual(
          starts,
          starts.toSorted((a, b) => a - b),
        );
      },
    ),
    { numRuns: 60 },
  );
});
let lastId = 0;

test('a body that makes progress is resumed many times, one that makes none is given up after three', async () => {
  await using parts = await setUp();
  const dripping = parts.origin.fault({ match: { times: 8 }, action: { endAtByte: 100_000 } });
  assert.ok((await parts.read(parts.digest, { start: 0, end: SIZE })).equals(BYTES));
  assert.equal(dripping.hits, 8);
  parts.origin.reset();
  const stuck = parts.origin.fault({ action: { endAtByte: 0 } });
  await assert.rejects(parts.read(parts.digest, { start: 0, end: SIZE }), isBroken);
  assert.equal(stuck.hits, 4);
});

test('losses are bounded also when each makes progress', async () => {
  await using parts = await setUp();
  const fault = parts.origin.fault({ action: { endAtByte: 66_000 } });
  await assert.rejects(parts.read(parts.digest, { start: 0, end: SIZE }), isBroken);
  assert.equal(fault.hits, 10);
});

test('a body that stalls for good ends as a timeout', async () => {
  await using parts = await setUp();
  parts.origin.fault({ action: { stallAtByte: 10 } });
  await assert.rejects(
    parts.read(parts.digest, { start: 0, end: SIZE }),
    (error) => hasCode(error, 'origin-timeout') && error.status === 504,
  );
  assert.equal(
    await parts.value('damselfly_origin_breaker_open'),
    0,
    'a stalled body says nothing of the origin',
  );
});

test('a resumed body must be of the same blob', async () => {
  await using parts = await setUp();
  parts.origin.fault({ match: { nth: 1 }, action: { endAtByte: 100_000 } });
  parts.origin.fault({
    action: { contentRange: ({ start, end }) => `bytes ${start}-${end - 1}/${SIZE + 1}` },
  });
  await assert.rejects(parts.read(parts.digest, { start: 0, end: SIZE }), isBroken);
});

test('an origin without ranges is resumed by skipping what is here', async () => {
  await using parts = await setUp();
  parts.origin.fault({ match: { nth: 1 }, action: { ignoreRange: true, endAtByte: 700_000 } });
  parts.origin.fault({ action: { ignoreRange: true } });
  assert.ok((await parts.read(parts.digest, { start: 0, end: SIZE })).equals(BYTES));
});

test('a shorter part than asked is completed by another request', async () => {
  await using parts = await setUp();
  parts.origin.fault({ match: { nth: 1 }, action: { serveSpan: { start: 1_000, end: 500_000 } } });
  const read = await parts.open(parts.digest, { start: 1_000, end: 2_000_000 });
  assert.deepEqual(read.span, { start: 1_000, end: 2_000_000 });
  assert.ok((await bytesOf(read)).equals(BYTES.subarray(1_000, 2_000_000)));
  assert.equal(parts.origin.requests[1]?.range, 'bytes=500000-1999999');
});

test('a token that runs out in mid-blob ends the read with the refusal', async () => {
  await using parts = await setUp({ auth: 'token' });
  const token = parts.origin.issueToken({ repository: REPOSITORY });
  parts.origin.fault({ match: { nth: 1 }, action: { endAtByte: 100_000 } });
  const read = await parts.open(
    parts.digest,
    { start: 0, end: SIZE },
    { upstream: parts.as(`Bearer ${token}`) },
  );
  parts.origin.auth.expireTokens();
  await assert.rejects(bytesOf(read), (error) => error instanceof OriginRefusal && error.status === 401);
});

for (const at of [10, 11]) {
  test(`more bytes than were announced are an error (the first packet has ${at})`, async () => {
    await using origin = await startOrigin();
    await using server = await listening(
      createServer((_request, response) => {
        response.writeHead(206, { 'Content-Range': 'bytes 0-9/100' });
        response.write(BYTES.subarray(0, at), () => response.end(BYTES.subarray(at, 12)));
      }),
    );
    await using parts = rig(origin, { listing: { origins: [entry(server.host, { insecure: true })] } });
    const upstream = { ...parts.upstream, origin: parts.directory.resolve(server.host) };
    const digest = `sha256:${'a'.repeat(64)}` as never;
    const read = await parts.open(digest, { start: 0, end: 10 }, { upstream });
    const got: number[] = [];
    const reading = async (): Promise<void> => {
      for await (const chunk of read.chunks) got.push(chunk.length);
    };
    await assert.rejects(reading(), isBroken);
    assert.ok(got.reduce((sum, length) => sum + length, 0) <= 10);
  });
}

test('leaving early drops the connection before much more is read, and gives the slot back', async () => {
  await expectNoLeak(async () => {
    const size = 512 << 20;
    const origin = await startOrigin();
    const blob = origin.repository(REPOSITORY).addBlob({ size, seed: 1 });
    const parts = rig(origin, { bodySlots: 1, maxQueued: 0 });
    for (const leave of ['break', 'close', 'never read', 'abort'] as const) {
      const abort = new AbortController();
      const read = await parts.open(blob.digest, { start: 0, end: size }, { signal: abort.signal });
      if (leave === 'break') {
        for await (const chunk of read.chunks) {
          assert.ok(chunk.length > 0);
          break;
        }
      } else if (leave === 'close') {
        await read.chunks[Symbol.asyncIterator]().next();
        read.close();
      } else if (leave === 'never read') read.close();
      else abort.abort();
      read.close();
      assert.equal(await parts.value('damselfly_origin_requests_open'), 0, leave);
    }
    await origin.idle();
    const received = await parts.value('damselfly_origin_bytes_total');
    assert.ok(received < 4 << 20, `${received} bytes were received`);
    await parts.close();
    await origin.close();
  });
});

test('a reader that pauses stops the origin', async () => {
  const size = 512 << 20;
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size, seed: 1 });
  await using parts = rig(origin);
  const read = await parts.open(blob.digest, { start: 0, end: size });
  await read.chunks[Symbol.asyncIterator]().next();
  let before = -1;
  for (let now = 0; now !== before; now = await parts.value('damselfly_origin_bytes_total')) {
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  assert.ok(before < 1 << 20, `${before} bytes wait in memory`);
  read.close();
});
