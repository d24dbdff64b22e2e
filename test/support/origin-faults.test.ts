import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { eventually } from './eventually.ts';
import { type GetOptions, httpGet, keepAlive } from './http-get.ts';
import { type FaultAction, seededBytes, startOrigin, type TestBlob, type TestOrigin } from './origin.ts';

const SIZE = 700_000;
const WHOLE = seededBytes('faulty', { start: 0, end: SIZE });

describe('faults of a test origin', () => {
  let origin: TestOrigin;
  let blob: TestBlob;
  before(async () => {
    origin = await startOrigin();
    blob = origin.repository('lab/app').addBlob({ size: SIZE, seed: 'faulty' });
  });
  beforeEach(() => origin.reset());
  after(() => origin.close());

  const get = (options?: GetOptions) => httpGet(origin.url + blob.path, options);
  const getUnder = (action: FaultAction, options?: GetOptions) => {
    origin.fault({ match: { endpoint: 'blob' }, action });
    return get(options);
  };

  it('delays the head', async () => {
    const answer = await getUnder({ delayHeadMs: 80 });
    assert.ok(answer.headMs >= 75);
    assert.ok(answer.body.equals(WHOLE));
  });

  it('never answers until released', async () => {
    const fault = origin.fault({ action: { neverAnswer: true } });
    await assert.rejects(get({ timeoutMs: 100 }), { code: 'ETIMEDOUT' });
    const later = get();
    await eventually(() => fault.hits === 2);
    fault.release();
    assert.ok((await later).body.equals(WHOLE));
  });

  it('stalls at a byte until released', async () => {
    const fault = origin.fault({ action: { stallAtByte: 300_000 } });
    let bytes = 0;
    const answer = get({
      onChunk: (chunk) => {
        bytes += chunk.length;
      },
    });
    await eventually(() => bytes === 300_000);
    assert.equal(origin.requests[0]?.bytesSent, 300_000);
    fault.release();
    assert.equal((await answer).bytes, SIZE);
  });

  it('resets at a byte, before the head, and right after it', async () => {
    const answer = await getUnder({ resetAtByte: 300_000 });
    assert.deepEqual([answer.complete, answer.failure], [false, 'ECONNRESET']);
    assert.ok(answer.bytes <= 300_000 && answer.body.equals(WHOLE.subarray(0, answer.bytes)));
    await origin.idle();
    assert.equal(origin.requests[0]?.aborted, true);
    origin.reset();
    assert.deepEqual([(await getUnder({ resetAtByte: 0 })).bytes, origin.requests[0]?.status], [0, 200]);
    origin.reset();
    await assert.rejects(getUnder({ dropConnection: true }), { code: 'ECONNRESET' });
  });

  it('ends short with a clean FIN', async () => {
    const answer = await getUnder({ endAtByte: 1_000 });
    assert.deepEqual([answer.bytes, answer.complete], [1_000, false]);
    assert.equal(answer.header('content-length'), String(SIZE));
    origin.reset();
    // Without framing nobody can see that something is missing, which is the point of it.
    const unframed = await getUnder({ endAtByte: 1_000, framing: 'close' });
    assert.deepEqual([unframed.bytes, unframed.complete], [1_000, true]);
  });

  it('sends one wrong byte, whatever range it is in', async () => {
    origin.fault({ action: { flipAtOffset: 300_001 } });
    const answer = await get({ headers: { range: 'bytes=300000-300009' } });
    const right = WHOLE.subarray(300_000, 300_010);
    assert.equal(answer.body[1], (right[1] ?? 0) ^ 0xff);
    assert.ok(answer.body.subarray(2).equals(right.subarray(2)));
    const elsewhere = await get({ headers: { range: 'bytes=0-9' } });
    assert.ok(elsewhere.body.equals(WHOLE.subarray(0, 10)));
    assert.ok(WHOLE.equals(seededBytes('faulty', { start: 0, end: SIZE })), 'the source itself stays right');
  });

  it('lies about lengths and ranges', async () => {
    const short = await getUnder({ contentLengthDelta: -100 }, { headers: { range: 'bytes=0-999' } });
    assert.deepEqual([short.header('content-length'), short.bytes], ['900', 900]);
    origin.reset();
    const pool = keepAlive();
    const long = await getUnder(
      { contentLengthDelta: 100 },
      { headers: { range: 'bytes=0-999' }, agent: pool.http, timeoutMs: 200 },
    );
    pool.destroy();
    assert.deepEqual([long.bytes, long.complete, long.failure], [1_000, false, 'ETIMEDOUT']);
    origin.reset();
    const shifted = await getUnder(
      { contentRange: (span, size) => `bytes ${span.start + 1}-${span.end}/${size}` },
      { headers: { range: 'bytes=0-9' } },
    );
    assert.equal(shifted.header('content-range'), `bytes 1-10/${SIZE}`);
    assert.ok(shifted.body.equals(WHOLE.subarray(0, 10)));
    origin.reset();
    const other = await getUnder({ serveSpan: { start: 5, end: 8 } }, { headers: { range: 'bytes=0-9' } });
    assert.equal(other.header('content-range'), `bytes 5-7/${SIZE}`);
    assert.ok(other.body.equals(WHOLE.subarray(5, 8)));
  });

  it('answers 200 with the whole for a range', async () => {
    const answer = await getUnder({ ignoreRange: true }, { headers: { range: 'bytes=10-19' } });
    assert.deepEqual([answer.status, answer.bytes, answer.header('content-range')], [200, SIZE, undefined]);
  });

  it('answers any status, with Retry-After and header lines of choice', async () => {
    for (const status of [404, 416, 429, 500, 502, 503]) {
      const answer = await getUnder({ status, retryAfterSeconds: 7, headers: { 'X-Why': 'test' } });
      assert.deepEqual(
        [answer.status, answer.header('retry-after'), answer.header('x-why')],
        [status, '7', 'test'],
      );
      origin.reset();
    }
    const unauthorized = await getUnder({ status: 401 });
    assert.match(unauthorized.header('www-authenticate') ?? '', /^Bearer realm=/);
    assert.equal(origin.bytesSent(), 0, 'error documents are no blob bytes');
  });

  it('drips', async () => {
    const answer = await getUnder({ bytesPerSecond: 20_000 }, { headers: { range: 'bytes=0-1999' } });
    assert.ok(answer.endMs >= 90);
    assert.equal(answer.bytes, 2_000);
  });

  it('compresses unasked', async () => {
    const answer = await getUnder({ gzip: true }, { headers: { 'accept-encoding': 'identity' } });
    assert.equal(answer.header('content-encoding'), 'gzip');
    assert.ok(gunzipSync(answer.body).equals(WHOLE));
  });

  it('leaves Content-Length out, chunked or until the connection ends', async () => {
    const chunked = await getUnder({ framing: 'chunked' });
    assert.deepEqual(
      [chunked.header('transfer-encoding'), chunked.header('content-length'), chunked.bytes],
      ['chunked', undefined, SIZE],
    );
    origin.reset();
    const pool = keepAlive();
    const close = await getUnder({ framing: 'close' }, { agent: pool.http });
    assert.deepEqual(
      [
        close.header('transfer-encoding'),
        close.header('content-length'),
        close.header('connection'),
        close.bytes,
      ],
      [undefined, undefined, 'close', SIZE],
    );
    pool.destroy();
  });

  it('picks its requests: method, path, condition, nth, times; the first rule that fits is taken', async () => {
    const statusOf = async (options?: GetOptions) => (await get(options)).status;
    origin.fault({ match: { method: 'HEAD' }, action: { status: 500 } });
    assert.equal(await statusOf(), 200);
    assert.equal(await statusOf({ method: 'HEAD' }), 500);
    origin.reset();
    origin.fault({ match: { path: blob.path, nth: 2 }, action: { status: 502 } });
    assert.deepEqual([await statusOf(), await statusOf(), await statusOf()], [200, 502, 200]);
    origin.reset();
    const twice = origin.fault({ match: { path: /\/blobs\//, times: 2 }, action: { status: 503 } });
    origin.fault({ match: { nth: 1 }, action: { status: 404 } });
    assert.deepEqual(
      [await statusOf(), await statusOf(), await statusOf(), await statusOf()],
      [503, 503, 404, 200],
    );
    assert.equal(twice.hits, 2);
    origin.reset();
    const odd = origin.fault({
      match: { where: ({ range }) => range === 'bytes=1-1' },
      action: { status: 500 },
    });
    assert.equal(await statusOf({ headers: { range: 'bytes=0-0' } }), 206);
    assert.equal(await statusOf({ headers: { range: 'bytes=1-1' } }), 500);
    odd.remove();
    assert.equal(await statusOf({ headers: { range: 'bytes=1-1' } }), 206);
  });

  it('notes a client that hung up', async () => {
    origin.bytesPerSecond = 5_000_000;
    const answer = await get({ abortAfterBytes: 50_000 });
    origin.bytesPerSecond = undefined;
    assert.deepEqual([answer.bytes, answer.complete], [50_000, false]);
    await origin.idle();
    assert.equal(origin.requests[0]?.aborted, true);
    assert.ok((origin.requests[0]?.bytesSent ?? 0) < SIZE);
  });
});
