import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from './eventually.ts';
import { httpGet, keepAlive } from './http-get.ts';
import { expectNoLeak } from './leaks.ts';
import { seededBytes, selfSigned, startOrigin } from './origin.ts';

describe('the life of a test origin', () => {
  it('goes down and comes back on the same port', async () => {
    await using origin = await startOrigin();
    const url = `${origin.url}/v2/`;
    assert.equal((await httpGet(url)).status, 200);
    await origin.down();
    await assert.rejects(httpGet(url), { code: 'ECONNREFUSED' });
    await origin.up();
    assert.equal((await httpGet(url)).status, 200);
  });

  it('going down cuts a body under way, unless told to keep connections', async () => {
    for (const keepConnections of [true, false]) {
      await using origin = await startOrigin();
      const blob = origin.repository('r').addBlob({ size: 1_000_000, seed: 1 });
      const stalled = origin.fault({ match: { times: 1 }, action: { stallAtByte: 500 } });
      const answer = httpGet(origin.url + blob.path);
      await eventually(() => origin.requests[0]?.bytesSent === 500);
      await origin.down({ keepConnections });
      await assert.rejects(httpGet(origin.url), { code: 'ECONNREFUSED' });
      stalled.release();
      assert.equal((await answer).complete, keepConnections);
      await origin.up();
      assert.equal((await httpGet(origin.url + blob.path)).complete, true);
    }
  });

  it('cuts idle connections and gives later ones another number', async () => {
    await using origin = await startOrigin();
    const pool = keepAlive({ maxSockets: 1 });
    try {
      for (let i = 0; i < 2; i++) await httpGet(`${origin.url}/v2/`, { agent: pool.http });
      origin.cutConnections();
      await eventually(() => Object.keys(pool.http.freeSockets).length === 0);
      await httpGet(`${origin.url}/v2/`, { agent: pool.http });
      assert.deepEqual(
        origin.requests.map((record) => record.connectionId),
        [1, 1, 2],
      );
    } finally {
      pool.destroy();
    }
  });

  it('speaks TLS with a certificate of its own, resets included', async () => {
    const tls = await selfSigned();
    await using origin = await startOrigin({ tls, redirect: { status: 307 } });
    const blob = origin.repository('r').addBlob({ size: 100_000, seed: 'tls' });
    const redirect = await httpGet(origin.url + blob.path, { ca: tls.cert });
    const location = redirect.header('location') ?? '';
    assert.match(location, /^https:\/\/127\.0\.0\.1:/);
    const answer = await httpGet(location, { ca: tls.cert });
    assert.ok(answer.body.equals(seededBytes('tls', { start: 0, end: 100_000 })));
    await assert.rejects(httpGet(origin.url), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    origin.fault({ action: { resetAtByte: 5 } });
    const reset = await httpGet(location, { ca: tls.cert });
    assert.equal(reset.complete, false);
    const expired = await selfSigned(['127.0.0.1'], { fromDays: -3, toDays: -1 });
    await using other = await startOrigin({ tls: expired });
    await assert.rejects(httpGet(other.url, { ca: expired.cert }), { code: 'CERT_HAS_EXPIRED' });
  });

  it('caps all connections together', async () => {
    await using origin = await startOrigin({ bytesPerSecond: 2_000_000 });
    const blob = origin.repository('r').addBlob({ size: 200_000, seed: 1 });
    const begunMs = performance.now();
    await Promise.all([1, 2].map(() => httpGet(origin.url + blob.path)));
    // 400 kB at 2 MB/s are 200 ms; what is owed to the line cannot come earlier however fast the machine is.
    assert.ok(performance.now() - begunMs >= 190);
    origin.bytesPerSecond = undefined;
    assert.equal((await httpGet(origin.url + blob.path)).bytes, 200_000);
  });

  it('leaves nothing open, not even with stalled requests', async () => {
    await expectNoLeak(async () => {
      const origin = await startOrigin({ separateTokenServer: true });
      const blob = origin.repository('r').addBlob({ size: 1_000_000, seed: 1 });
      origin.fault({ match: { endpoint: 'blob' }, action: { stallAtByte: 10 } });
      origin.fault({ match: { endpoint: 'base' }, action: { neverAnswer: true } });
      const stalled = httpGet(origin.url + blob.path);
      const silent = assert.rejects(httpGet(`${origin.url}/v2/`));
      await eventually(() => origin.requests.length === 2 && origin.find({ status: 200 }).length === 1);
      await origin.close();
      await stalled;
      await silent;
    });
  });
});
