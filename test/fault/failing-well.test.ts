import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setup } from '../integration/support/setup.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpAnswer, httpGet, rawExchange } from '../support/http-get.ts';
import { seededBytes } from '../support/origin.ts';

const MIB = 1 << 20;
/** What two slow cores may add to a deadline of the contract. */
const SLACK_MS = 1_500;
const WHOLE_AND_RANGE: readonly Record<string, string>[] = [{}, { Range: 'bytes=0-9' }];
const digestOfNothing = `sha256:${'0'.repeat(64)}`;

describe('deadlines', () => {
  it('8.22 a ranged read of 1 MiB at an origin that stalls ends within 4.5 s, cut, never short and clean', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 8 * MIB, seed: 'stall' });
    origin.fault({ match: { endpoint: 'blob' }, action: { stallAtByte: 300_000 } });
    const answer = await httpGet(node.url + blob.path, { headers: { Range: `bytes=0-${MIB - 1}` } });
    assert.ok(answer.endMs < 4_500 + SLACK_MS, `${answer.endMs} ms`);
    assert.equal(answer.status, 206);
    assert.equal(answer.complete, false);
    assert.equal(answer.failure, 'ECONNRESET');
    assert.ok(answer.body.equals(seededBytes('stall', { start: 0, end: answer.bytes })));
    origin.clearFaults();
    const again = await httpGet(node.url + blob.path, { headers: { Range: `bytes=0-${MIB - 1}` } });
    assert.ok(again.body.equals(seededBytes('stall', { start: 0, end: MIB })));
  });

  it('8.20 a body that drips is cut at 4.5 s up to 4 MiB, and let be beyond', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 8 * MIB, seed: 'drip' });
    const long = origin.repository('lab/a').addBlob({ size: 8 * MIB, seed: 'long drip' });
    origin.fault({ match: { path: blob.path }, action: { bytesPerSecond: 100_000 } });
    origin.fault({ match: { path: long.path }, action: { bytesPerSecond: 800_000 } });
    const [short, beyond] = await Promise.all([
      httpGet(node.url + blob.path, { headers: { Range: `bytes=0-${4 * MIB - 1}` } }),
      httpGet(node.url + long.path, { headers: { Range: `bytes=0-${5 * MIB - 1}` } }),
    ]);
    assert.ok(short.endMs < 4_500 + SLACK_MS, `${short.endMs} ms`);
    assert.deepEqual([short.status, short.complete, short.failure], [206, false, 'ECONNRESET']);
    assert.ok(short.bytes > 100_000 && short.bytes < MIB, `${short.bytes} bytes`);
    assert.ok(beyond.endMs > 4_500 + SLACK_MS, `${beyond.endMs} ms: not slow enough for this test`);
    assert.equal(beyond.complete, true);
  });

  it('8.20 a stall before the first byte is a 504 in time, with nothing of a hit in its head', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 8 * MIB, seed: 'stall' });
    origin.fault({ match: { endpoint: 'blob' }, action: { stallAtByte: 0 } });
    const answer = await httpGet(node.url + blob.path, { headers: { Range: `bytes=0-${MIB - 1}` } });
    assert.equal(answer.status, 504);
    assert.ok(answer.headMs < 2_500 + SLACK_MS, `${answer.headMs} ms`);
    assert.equal(answer.header('x-damselfly-source'), undefined);
  });

  it('8.20 a head that never comes is a 504 within proxy.headersTimeout, for a range and for one of many', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 8 * MIB, seed: 'silent' });
    origin.fault({ action: { neverAnswer: true } });
    for (const range of ['bytes=0-999', 'bytes=5-', 'bytes=-7', 'bytes=0-1,5-6']) {
      const answer = await httpGet(node.url + blob.path, { headers: { Range: range } });
      assert.equal(answer.status, 504, range);
      assert.ok(answer.headMs < 2_500 + SLACK_MS, `${range}: ${answer.headMs} ms`);
    }
  });

  it('a warm blob, whose rights are not known, at a silent origin: 503 or 504 in time, and pings stay fast', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: MIB, seed: 'silent' });
    assert.equal((await httpGet(node.url + blob.path)).status, 200);
    origin.fault({ action: { neverAnswer: true } });
    const asking = httpGet(node.url + blob.path, {
      headers: { Range: 'bytes=0-9', Authorization: 'Bearer someone-else' },
    });
    const ping = await httpGet(`${node.url}/v2`);
    assert.equal(ping.status, 200);
    assert.ok(ping.endMs < 1_000, `${ping.endMs} ms`);
    const answer = await asking;
    assert.ok([503, 504].includes(answer.status), String(answer.status));
    assert.ok(answer.headMs < 2_500 + SLACK_MS, `${answer.headMs} ms`);
  });
});

describe('deadlines of what has no fail-over behind it', () => {
  it('heads have 25 s: slow ones are waited for, ones that never come are a 503 or 504', async (t) => {
    const { origin, node } = await setup(t);
    const repository = origin.repository('lab/a');
    const blob = repository.addBlob({ size: 1000, seed: 'slow' });
    const silent = repository.addBlob({ size: 1000, seed: 'silent' });
    const manifest = repository.addManifest({ schemaVersion: 2, layers: [] }, { tag: 'v1' });
    origin.fault({ match: { path: blob.path }, action: { delayHeadMs: 5_000 } });
    origin.fault({ match: { where: ({ path }) => path !== blob.path }, action: { neverAnswer: true } });
    const paths = [
      silent.path,
      manifest.path,
      '/v2/lab/a/manifests/v1',
      '/v2/lab/a/tags/list',
      '/v2/',
      `/v2/lab/a/referrers/${digestOfNothing}`,
    ];
    const slow = httpGet(node.url + blob.path, { timeoutMs: 40_000 });
    const answers = await Promise.all(
      paths.map((path) => httpGet(node.url + path, { method: 'GET', timeoutMs: 40_000 })),
    );
    for (const [i, answer] of answers.entries()) {
      assert.ok([503, 504].includes(answer.status), `${paths[i]}: ${answer.status}`);
      assert.ok(answer.headMs > 15_000, `${paths[i]}: given up after ${answer.headMs} ms`);
      assert.ok(answer.headMs < 25_000 + SLACK_MS, `${paths[i]}: ${answer.headMs} ms`);
    }
    assert.equal((await slow).status, 200);
  });

  it('a body that stalls is reset after 4 s, long ranges and whole reads alike', async (t) => {
    const { origin, node } = await setup(t);
    const blobs = ['range', 'whole'].map((seed) =>
      origin.repository('lab/a').addBlob({ size: 12 * MIB, seed }),
    );
    // The first answer stalls, and nobody answers when the rest is asked for.
    for (const { path } of blobs) {
      origin.fault({ match: { path, times: 1 }, action: { stallAtByte: 2 * MIB } });
      origin.fault({ match: { path }, action: { neverAnswer: true } });
    }
    const headers = [{ Range: `bytes=0-${8 * MIB - 1}` }, {}] as Record<string, string>[];
    const reads = blobs.map(async (blob, i) => {
      let lastByteMs = performance.now();
      const answer = await httpGet(node.url + blob.path, {
        headers: headers[i] ?? {},
        timeoutMs: 40_000,
        onChunk: () => {
          lastByteMs = performance.now();
        },
      });
      return { answer, stalledMs: performance.now() - lastByteMs };
    });
    for (const { answer, stalledMs } of await Promise.all(reads)) {
      assert.equal(answer.complete, false);
      assert.equal(answer.failure, 'ECONNRESET');
      assert.ok(answer.bytes > MIB, `${answer.bytes} bytes`);
      assert.ok(stalledMs < 4_000 + SLACK_MS, `${stalledMs} ms`);
    }
  });
});

describe('a client that hangs up before the head', () => {
  for (const Range of ['bytes=0-9', undefined]) {
    it(`takes its request to the origin with it: ${Range ?? 'a whole read'}`, async (t) => {
      const { origin, node } = await setup(t);
      const blob = origin.repository('lab/a').addBlob({ size: MIB, seed: 'gone' });
      const silent = origin.fault({ action: { neverAnswer: true } });
      const open = async (): Promise<string | undefined> =>
        /^damselfly_origin_requests_open (\d+)$/m.exec(
          (await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString(),
        )?.[1];
      const gone = new AbortController();
      const asking = httpGet(node.url + blob.path, {
        headers: Range === undefined ? {} : { Range },
        signal: gone.signal,
      });
      await eventually(() => silent.hits === 1);
      assert.equal(await open(), '1');
      gone.abort();
      await assert.rejects(asking);
      await eventually(async () => (await open()) === '0', { timeoutMs: 1_500 });
    });
  }
});

describe('statuses of our own', () => {
  it('an origin that cannot be told is 502, one that is not listed 503', async (t) => {
    const { node } = await setup(t, { set: ['proxy.defaultOrigin=', 'proxy.allowOrigins=listed'] });
    const path = `/v2/lab/a/blobs/${digestOfNothing}`;
    const expect = async (url: string, headers: Record<string, string>, status: number, code: string) => {
      const answer = await httpGet(url, { headers });
      assert.equal(answer.status, status);
      // By its code: an origin that is only unreachable is a 502 or 503 too.
      assert.equal((answer.json() as { errors: { code: string }[] }).errors[0]?.code, code);
    };
    for (const headers of WHOLE_AND_RANGE) {
      await expect(node.url + path, headers, 502, 'origin-unknown');
      const named = { ...headers, 'X-Dragonfly-Registry': 'https://registry.example.com' };
      await expect(node.url + path, named, 503, 'origin-not-listed');
      await expect(`${node.url + path}?ns=registry.example.com`, headers, 503, 'origin-not-listed');
    }
  });

  it('8.19 a stopped origin is 502 or 503, on every path', async (t) => {
    const { origin, node } = await setup(t);
    await origin.down();
    const paths = [
      `/v2/lab/a/blobs/${digestOfNothing}`,
      `/v2/lab/a/manifests/${digestOfNothing}`,
      '/v2/lab/a/manifests/v1',
      '/v2/lab/a/tags/list',
      '/v2/',
    ];
    for (const path of [...paths, ...paths]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await httpGet(node.url + path, { method });
        assert.ok([502, 503].includes(answer.status), `${method} ${path}: ${answer.status}`);
      }
    }
  });

  it('SSRF targets are 403 and say whose word it is', async (t) => {
    const { origin, node } = await setup(t);
    const targets = [
      'http://169.254.169.254/latest/meta-data/',
      `http://169.254.169.254/v2/a/blobs/${digestOfNothing}`,
      'http://[fe80::1]/',
      'http://0.0.0.0/',
      'http://127.0.0.1:9/',
      `http://127.0.0.1:9/v2/a/blobs/${digestOfNothing}`,
      'http://[::1]:9/',
      'http://[::ffff:169.254.169.254]/',
      'http://2852039166/',
    ];
    for (const target of targets) {
      const { host } = new URL(target);
      const answer = await httpGet(node.url, { target, headers: { Host: host } });
      assert.equal(answer.status, 403, target);
      assert.equal(answer.header('x-dragonfly-error-type'), 'proxy', target);
    }
    for (const registry of ['http://169.254.169.254', 'https://169.254.169.254', 'http://127.0.0.1:9']) {
      const answer = await httpGet(`${node.url}/v2/a/blobs/${digestOfNothing}`, {
        headers: { 'X-Dragonfly-Registry': registry },
      });
      assert.equal(answer.status, 403, registry);
      assert.equal(answer.header('x-dragonfly-error-type'), 'proxy', registry);
    }
    assert.deepEqual(origin.requests, []);
  });

  it('a redirect to an SSRF target is not followed', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 100, seed: 'ssrf' });
    origin.fault({
      match: { endpoint: 'blob' },
      action: { status: 307, headers: { Location: 'http://169.254.169.254/latest/' } },
    });
    const answer = await httpGet(node.url + blob.path, { headers: { Range: 'bytes=0-9' } });
    assert.equal(answer.status, 403);
    assert.equal(answer.header('x-dragonfly-error-type'), 'proxy');
  });

  it("8.19 404 and 429 are the origin's, passed on with what it said, and 5xx become ours", async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 100, seed: 'refused' });
    for (const status of [400, 403, 404, 410, 429, 451]) {
      const fault = origin.fault({
        match: { endpoint: 'blob' },
        action: { status, body: `because ${status}`, ...(status === 429 ? { retryAfterSeconds: 1 } : {}) },
      });
      for (const headers of WHOLE_AND_RANGE) {
        const answer = await httpGet(node.url + blob.path, { headers });
        assert.equal(answer.status, status);
        assert.equal(answer.body.toString(), `because ${status}`);
        assert.equal(answer.header('x-dragonfly-error-type'), undefined);
        if (status === 429) assert.equal(answer.header('retry-after'), '1');
      }
      fault.remove();
    }
    for (const status of [500, 502, 503]) {
      const fault = origin.fault({ match: { endpoint: 'blob' }, action: { status } });
      const answer = await httpGet(node.url + blob.path, { headers: { Range: 'bytes=0-9' } });
      assert.ok([502, 503, 504].includes(answer.status), `${status} became ${answer.status}`);
      fault.remove();
    }
  });

  it('8.19 whatever a client writes, no 404 and no 429 is ours', async (t) => {
    const { node } = await setup(t, { set: ['proxy.defaultOrigin='] });
    const { host } = new URL(node.url);
    const lines = [
      'GET /nothing/here HTTP/1.1',
      'GET /v2/x/blobs/not-a-digest HTTP/1.1',
      'POST / HTTP/1.1\r\nContent-Length: 0',
      'DELETE /v2/x/manifests/y HTTP/1.1',
      'GET http:///x HTTP/1.1',
      'GET /a/https:// HTTP/1.1',
      'BREW /v2/ HTTP/1.1',
      'OPTIONS * HTTP/1.1',
      'CONNECT localhost HTTP/1.1',
    ];
    for (const line of lines) {
      const text = (
        await rawExchange(host, `${line}\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
      ).toString();
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
      const ours = [200, 400, 403, 405, 413, 414, 416, 431, 502, 503, 504];
      assert.ok(ours.includes(status), `${line}: ${text.slice(0, 120)}`);
    }
  });
});

describe('the breaker', () => {
  it('opens after failures in a row, says so in the metrics, and closes by its probe', async (t) => {
    const { origin, node } = await setup(t);
    const blobs = Array.from({ length: 12 }, (_, seed) =>
      origin.repository('lab/a').addBlob({ size: 1000, seed }),
    );
    const get = (i: number): Promise<HttpAnswer> =>
      httpGet(node.url + (blobs[i]?.path ?? ''), { headers: { Range: 'bytes=0-9' } });
    const fault = origin.fault({ match: { endpoint: 'blob' }, action: { status: 500 } });
    for (let i = 0; i < 6; i += 1) assert.ok([502, 503, 504].includes((await get(i)).status));
    const before = origin.requests.length;
    const fast = await Promise.all([6, 7, 8, 9].map(get));
    for (const answer of fast) assert.equal(answer.status, 503);
    assert.ok(
      origin.requests.length - before <= 1,
      `${origin.requests.length - before} asked an open breaker's origin`,
    );
    const metrics = await httpGet(`http://${node.addresses.metrics[0]}/metrics`);
    assert.match(metrics.body.toString(), /^damselfly_\w*breaker\w*(\{[^}]*\})? 1/m);
    fault.remove();
    await eventually(async () => (await get(10)).status === 206, { timeoutMs: 10_000, everyMs: 100 });
    assert.equal((await get(11)).status, 206);
  });

  it('never opens for refusals, or for the wrong bytes of one blob', async (t) => {
    const { origin, node } = await setup(t);
    const blob = origin.repository('lab/a').addBlob({ size: 1000, seed: 'fine' });
    for (let i = 0; i < 12; i += 1) {
      assert.equal(
        (await httpGet(`${node.url}/v2/lab/a/blobs/sha256:${String(i).padStart(64, '0')}`)).status,
        404,
      );
    }
    assert.equal((await httpGet(node.url + blob.path)).status, 200);
  });
});
