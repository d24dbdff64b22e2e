import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DamselflyError, hasCode, OriginRefusal } from '../../src/errors.ts';
import { headerValues, seededBytes, startOrigin } from '../support/origin.ts';
import { bytesOf, REPOSITORY, rig } from './support.ts';

const SIZE = 3_000_000;
const BYTES = seededBytes('source', { start: 0, end: SIZE });
const WHOLE = { start: 0, end: Number.POSITIVE_INFINITY };

async function setUp(
  options: Parameters<typeof startOrigin>[0] = {},
  settings: Parameters<typeof rig>[1] = {},
) {
  const origin = await startOrigin(options);
  const blob = origin.repository(REPOSITORY).addBlob(BYTES);
  const parts = rig(origin, settings);
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

const isBroken = (error: unknown): boolean => hasCode(error, 'origin-broken') && error.status === 502;

test('each span is one request, with a closed range, identity and the credential', async () => {
  await using parts = await setUp();
  const cases = [
    [{ start: 0, end: 10 }, 'bytes=0-9', { start: 0, end: 10 }],
    [{ start: 1_000, end: 2_000_000 }, 'bytes=1000-1999999', { start: 1_000, end: 2_000_000 }],
    [{ start: SIZE - 1, end: SIZE + 5 }, `bytes=${SIZE - 1}-${SIZE + 4}`, { start: SIZE - 1, end: SIZE }],
    [{ start: 7, end: Number.POSITIVE_INFINITY }, 'bytes=7-', { start: 7, end: SIZE }],
    [WHOLE, undefined, { start: 0, end: SIZE }],
  ] as const;
  for (const [span, range, delivered] of cases) {
    const read = await parts.open(parts.digest, span, { upstream: parts.as('Basic eDp5') });
    assert.deepEqual(read.span, delivered);
    assert.deepEqual(read.info, { size: SIZE, mediaType: 'application/octet-stream' });
    assert.ok((await bytesOf(read)).equals(BYTES.subarray(delivered.start, delivered.end)));
    const request = parts.origin.requests.at(-1);
    assert.equal(request?.range, range);
    assert.equal(request?.authorization, 'basic');
    assert.deepEqual(headerValues(request?.rawHeaders ?? [], 'accept-encoding'), ['identity']);
  }
  assert.equal(parts.origin.requests.length, cases.length);
  const sent = cases.reduce((sum, [, , { start, end }]) => sum + end - start, 0);
  assert.equal(await parts.value('damselfly_origin_bytes_total'), sent);
  assert.equal(await parts.value('dragonfly_client_download_traffic', { type: 'BACK_TO_SOURCE' }), sent);
  assert.equal(
    await parts.value('dragonfly_client_backend_request_total', { scheme: 'http', method: 'GET' }),
    cases.length,
  );
  assert.equal(await parts.value('damselfly_origin_requests_open'), 0);
});

test("the origin's 4xx are passed on, not repeated and no failures", async () => {
  await using parts = await setUp();
  for (const status of [401, 403, 404, 429]) {
    const fault = parts.origin.fault({ action: { status, retryAfterSeconds: 3, body: 'why' } });
    await assert.rejects(parts.open(parts.digest, { start: 0, end: 1 }), (error) => {
      assert.ok(error instanceof OriginRefusal);
      assert.equal(error.status, status);
      assert.equal(String(Buffer.from(error.body)), 'why');
      assert.equal(headerValues(error.rawHeaders, 'retry-after')[0], '3');
      assert.equal(headerValues(error.rawHeaders, 'www-authenticate').length, status === 401 ? 1 : 0);
      assert.equal(headerValues(error.rawHeaders, 'connection').length, 0);
      return true;
    });
    assert.equal(fault.hits, 1);
    parts.origin.clearFaults();
  }
  assert.equal(await parts.value('dragonfly_client_backend_request_failure_total'), 0);
  assert.equal(await parts.value('damselfly_origin_bytes_total'), 0, 'error documents are no bytes of blobs');
});

test('a prefetch that meets 429 waits and goes on, or is busy', async () => {
  await using parts = await setUp();
  parts.origin.fault({ match: { times: 1 }, action: { status: 429, retryAfterSeconds: 2 } });
  const bytes = await parts.read(parts.digest, { start: 0, end: 10 }, { urgency: 'prefetch' });
  assert.ok(bytes.equals(BYTES.subarray(0, 10)));
  parts.origin.clearFaults();
  parts.origin.fault({ action: { status: 429, retryAfterSeconds: 3_600 } });
  await assert.rejects(parts.open(parts.digest, { start: 0, end: 1 }, { urgency: 'prefetch' }), (error) =>
    hasCode(error, 'origin-busy'),
  );
});

test('5xx are tried three times, then our own trouble', async () => {
  await using parts = await setUp();
  parts.origin.fault({ match: { times: 2 }, action: { status: 500 } });
  assert.equal((await parts.read(parts.digest, { start: 0, end: 10 })).length, 10);
  parts.origin.clearFaults();
  const fault = parts.origin.fault({ match: { times: 3 }, action: { status: 504 } });
  await assert.rejects(parts.open(parts.digest, { start: 0, end: 1 }), isBroken);
  assert.equal(fault.hits, 3);
  parts.origin.clearFaults();
  parts.origin.fault({ match: { times: 1 }, action: { status: 503, retryAfterSeconds: 60 } });
  await assert.rejects(
    parts.open(parts.digest, { start: 0, end: 1 }),
    (error) => hasCode(error, 'origin-busy') && error.status === 503,
  );
});

test('a part must be the asked one of as many bytes as are known', async () => {
  await using parts = await setUp();
  const ask = (span = { start: 100, end: 200 }, size?: number) => parts.open(parts.digest, span, { size });
  const lies: Record<string, Parameters<typeof parts.origin.fault>[0]['action']> = {
    'another start': { contentRange: `bytes 101-200/${SIZE}` },
    'an earlier start': { contentRange: `bytes 99-198/${SIZE}` },
    'a later end': { contentRange: `bytes 100-200/${SIZE}` },
    'no total': { contentRange: 'bytes 100-199/*' },
    'an impossible range': { contentRange: 'bytes 100-199/150' },
    nonsense: { contentRange: 'bytes' },
    'no range at all': { headers: { 'Content-Range': undefined } },
    'two lengths': { contentRange: `bytes 100-150/${SIZE}` },
    'encoded bytes': { headers: { 'Content-Encoding': 'gzip' } },
    'no content': { status: 204 },
  };
  for (const [name, action] of Object.entries(lies)) {
    parts.origin.clearFaults();
    const fault = parts.origin.fault({ action });
    await assert.rejects(ask(), isBroken, name);
    assert.equal(fault.hits, 1, name);
  }
  parts.origin.clearFaults();
  await assert.rejects(ask(undefined, SIZE + 1), isBroken, 'another size than is known');
  assert.equal((await bytesOf(await ask(undefined, SIZE))).length, 100);
});

test('a whole answer to a range is delivered whole', async () => {
  await using parts = await setUp();
  parts.origin.fault({ action: { ignoreRange: true } });
  const read = await parts.open(parts.digest, { start: 2_000_000, end: 2_000_010 });
  assert.deepEqual(read.span, { start: 0, end: SIZE });
  assert.ok((await bytesOf(read)).equals(BYTES));
  await assert.rejects(
    parts.open(parts.digest, { start: SIZE, end: SIZE + 1 }),
    (error) => hasCode(error, 'range-not-satisfiable') && error.facts.size === SIZE,
  );
});

test('a whole answer of unknown length is asked for again as a range, which tells the size', async () => {
  await using parts = await setUp();
  parts.origin.fault({
    match: { where: ({ range }) => range === undefined },
    action: { framing: 'chunked' },
  });
  const read = await parts.open(parts.digest, WHOLE);
  assert.equal(read.info.size, SIZE);
  assert.ok((await bytesOf(read)).equals(BYTES));
  assert.deepEqual(
    parts.origin.requests.map(({ range }) => range),
    [undefined, 'bytes=0-'],
  );
  parts.origin.reset();
  parts.origin.fault({ action: { framing: 'close', ignoreRange: true } });
  await assert.rejects(parts.open(parts.digest, WHOLE), isBroken);
  assert.ok((await parts.read(parts.digest, WHOLE, { size: SIZE })).equals(BYTES), 'the known size will do');
});

test('416 tells the size; for an empty blob it is an answer', async () => {
  await using parts = await setUp();
  for (const size of [undefined, SIZE]) {
    await assert.rejects(
      parts.open(parts.digest, { start: SIZE + 5, end: SIZE + 10 }, { size }),
      (error) => hasCode(error, 'range-not-satisfiable') && error.facts.size === SIZE && error.status === 416,
    );
  }
  assert.equal(parts.origin.requests.length, 1, 'what is known is not asked');
  const empty = parts.origin.repository(REPOSITORY).addBlob(new Uint8Array(0));
  for (const span of [{ start: 0, end: 100 }, WHOLE]) {
    const read = await parts.open(empty.digest, span);
    assert.deepEqual([read.span, read.info.size], [{ start: 0, end: 0 }, 0]);
    assert.equal((await bytesOf(read)).length, 0);
  }
});

test('a 416 inside of the blob is a broken origin', async () => {
  await using parts = await setUp();
  for (const headers of [{ 'Content-Range': `bytes */${SIZE}` }, {}]) {
    parts.origin.clearFaults();
    parts.origin.fault({ action: { status: 416, headers } });
    await assert.rejects(parts.open(parts.digest, { start: 0, end: 1 }, { size: SIZE }), isBroken);
  }
  await assert.rejects(
    parts.open(parts.digest, { start: 0, end: 1 }),
    (error) => hasCode(error, 'range-not-satisfiable') && error.facts.size === undefined,
  );
});

test('a slot is held until the last byte, and demand goes before prefetch', async () => {
  await using parts = await setUp({}, { bodySlots: 1 });
  const stall = parts.origin.fault({ match: { nth: 1 }, action: { stallAtByte: 1_000 } });
  const first = await parts.open(parts.digest, { start: 0, end: SIZE });
  const order: string[] = [];
  const ask = async (urgency: 'demand' | 'prefetch') => {
    const bytes = await parts.read(parts.digest, { start: 0, end: 10 }, { urgency });
    order.push(urgency);
    return bytes;
  };
  const later = [ask('prefetch'), ask('demand')];
  assert.equal(parts.origin.requests.length, 1);
  stall.release();
  await bytesOf(first);
  await Promise.all(later);
  assert.deepEqual(order, ['demand', 'prefetch']);
});

test('no error shows a secret', async () => {
  await using parts = await setUp();
  parts.origin.fault({ action: { contentRange: 'bytes 5-6/7' } });
  await assert.rejects(
    parts.open(parts.digest, { start: 0, end: 1 }, { upstream: parts.as('Bearer very-secret') }),
    (error: DamselflyError) => {
      assert.ok(error instanceof DamselflyError);
      assert.ok(!JSON.stringify([error.message, error.facts, error.stack]).includes('very-secret'));
      return true;
    },
  );
});
