import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Urgency } from '../../src/blob/urgency.ts';
import { hasCode } from '../../src/errors.ts';
import { refusingAddress } from '../support/listening.ts';
import { headerValues, startOrigin } from '../support/origin.ts';
import { demand, entry, NEVER, REPOSITORY, rig } from './support.ts';

const asking = (followRedirects = false) => ({ ...demand(), followRedirects });

test("a head is the origin's own, asked as the requester", async () => {
  await using origin = await startOrigin({ auth: 'basic', users: { ann: 'pw' } });
  const blob = origin.repository(REPOSITORY, { readers: ['ann'] }).addBlob({ size: 1_000, seed: 1 });
  await using parts = rig(origin);
  const authorization = `Basic ${Buffer.from('ann:pw').toString('base64')}`;
  const head = await parts.client.head(parts.as(authorization), blob.digest, asking());
  assert.equal(head.status, 200);
  assert.equal(head.viaGet, false);
  assert.equal(head.header('content-length'), '1000');
  assert.equal(head.header('docker-content-digest'), blob.digest);
  const refused = await parts.client.head(parts.as(undefined), blob.digest, asking());
  assert.equal(refused.status, 401);
  assert.match(refused.header('www-authenticate') ?? '', /^Basic realm=/);
  assert.deepEqual(
    origin.requests.map(({ method, authorization: kind }) => `${method} ${kind}`),
    ['HEAD basic', 'HEAD none'],
  );
});

test('heads share kept-alive connections', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  await using parts = rig(origin);
  for (let i = 0; i < 6; i++) await parts.client.head(parts.upstream, blob.digest, asking());
  assert.ok(new Set(origin.requests.map(({ connectionId }) => connectionId)).size <= 2);
});

test('a redirect is the answer, or followed when asked', async () => {
  await using origin = await startOrigin({ redirect: { status: 307 } });
  const blob = origin.repository(REPOSITORY).addBlob({ size: 1_000, seed: 1 });
  await using parts = rig(origin);
  const yes = await parts.client.head(parts.upstream, blob.digest, asking(false));
  assert.equal(yes.status, 307);
  assert.equal(origin.find({ endpoint: 'cdn' }).length, 0);
  const followed = await parts.client.head(parts.upstream, blob.digest, asking(true));
  assert.equal(followed.status, 200);
  assert.equal(followed.header('content-length'), '1000');
});

for (const status of [405, 501]) {
  test(`HEAD answered ${status}: the first byte is asked for in its place, and the answer says so`, async () => {
    await using origin = await startOrigin();
    const repository = origin.repository(REPOSITORY);
    const blob = repository.addBlob({ size: 1_000, seed: 1 });
    const empty = repository.addBlob(new Uint8Array(0));
    origin.fault({ match: { method: 'HEAD' }, action: { status } });
    await using parts = rig(origin);
    const head = await parts.client.head(parts.upstream, blob.digest, asking());
    assert.deepEqual([head.status, head.viaGet, head.header('content-range')], [206, true, 'bytes 0-0/1000']);
    assert.equal(origin.requests.at(-1)?.range, 'bytes=0-0');
    const missing = await parts.client.head(parts.upstream, `sha256:${'0'.repeat(64)}`, asking());
    assert.deepEqual([missing.status, missing.viaGet], [404, true]);
    assert.match(String(Buffer.from(missing.body ?? [])), /BLOB_UNKNOWN/);
    const nothing = await parts.client.head(parts.upstream, empty.digest, asking());
    assert.deepEqual(
      [nothing.status, nothing.header('content-length')],
      [200, '0'],
      'an empty blob has no byte 0',
    );
    assert.equal(await parts.value('damselfly_origin_breaker_open'), 0);
    assert.equal(await parts.value('damselfly_origin_retries_total'), 0);
  });
}

test('Accept lines stay lines of their own', async () => {
  await using origin = await startOrigin();
  const manifest = origin.repository(REPOSITORY).addManifest({ schemaVersion: 2 }, { tag: 'v1' });
  await using parts = rig(origin);
  const accept = ['a/1', 'a/2, a/3', 'application/vnd.oci.image.manifest.v1+json'];
  const head = await parts.client.head(parts.manifests, 'v1', { ...asking(true), accept });
  assert.equal(head.header('docker-content-digest'), manifest.digest);
  assert.deepEqual(headerValues(origin.requests[0]?.rawHeaders ?? [], 'accept'), accept);
});

test('5xx are tried again and end as our own trouble; a 4xx is an answer', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  await using parts = rig(origin);
  origin.fault({ match: { times: 2 }, action: { status: 503 } });
  assert.equal((await parts.client.head(parts.upstream, blob.digest, asking())).status, 200);
  assert.equal(await parts.value('damselfly_origin_retries_total', { reason: 'status' }), 2);
  origin.clearFaults();
  origin.fault({ match: { times: 3 }, action: { status: 502 } });
  await assert.rejects(
    parts.client.head(parts.upstream, blob.digest, asking()),
    (error) => hasCode(error, 'origin-broken') && error.facts.originStatus === 502,
  );
  origin.clearFaults();
  origin.fault({ match: {}, action: { status: 429, retryAfterSeconds: 9 } });
  const limited = await parts.client.head(parts.upstream, blob.digest, asking());
  assert.deepEqual([limited.status, limited.header('retry-after')], [429, '9']);
});

test('a connection that is dropped before the head is tried again', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  origin.fault({ match: { times: 2 }, action: { dropConnection: true } });
  await using parts = rig(origin);
  assert.equal((await parts.client.head(parts.upstream, blob.digest, asking())).status, 200);
  assert.equal(await parts.value('damselfly_origin_retries_total', { reason: 'connect' }), 2);
});

test('the breaker opens after five failed connections, answers at once, and closes when a probe succeeds', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  const clock = { now: 0 };
  await using parts = rig(origin, { now: () => clock.now, retry: { attempts: 1 } });
  const ask = () => parts.client.head(parts.upstream, blob.digest, asking());
  await origin.down({ part: 'registry' });
  for (let i = 0; i < 5; i++) await assert.rejects(ask(), (error) => hasCode(error, 'origin-unreachable'));
  await assert.rejects(ask(), (error) => hasCode(error, 'origin-failing') && error.status === 503);
  assert.equal(await parts.value('damselfly_origin_breaker_open', { origin: origin.host }), 1);
  await origin.up({ part: 'registry' });
  await assert.rejects(ask(), (error) => hasCode(error, 'origin-failing'));
  clock.now += 1_000;
  assert.equal((await ask()).status, 200);
  assert.equal(await parts.value('damselfly_origin_breaker_open', { origin: origin.host }), 0);
  assert.equal(await parts.value('dragonfly_client_backend_request_failure_total', { method: 'HEAD' }), 5);
});

test('a question that is tried three times says once that its host fails', async () => {
  await using origin = await startOrigin();
  await using parts = rig(origin);
  origin.fault({ match: { method: 'HEAD' }, action: { status: 500 } });
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  const ask = () => parts.client.head(parts.upstream, blob.digest, asking());
  for (let i = 0; i < 4; i++) await assert.rejects(ask(), (error) => hasCode(error, 'origin-broken'));
  origin.clearFaults();
  assert.equal((await ask()).status, 200);
});

test('five 5xx heads in a row open the breaker; 4xx, and heads that never come, do not', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  await using parts = rig(origin, { retry: { attempts: 1 } });
  const ask = (signal?: AbortSignal) =>
    parts.client
      .head(parts.upstream, blob.digest, { ...asking(), ...(signal && { signal }) })
      .catch((error) => error);
  const silent = origin.fault({ match: { times: 6 }, action: { neverAnswer: true } });
  for (let i = 0; i < 6; i++) await ask(AbortSignal.timeout(10));
  silent.release();
  origin.clearFaults();
  origin.fault({ match: { times: 6 }, action: { dropConnection: true } });
  for (let i = 0; i < 6; i++) assert.ok(hasCode(await ask(), 'origin-broken'));
  origin.clearFaults();
  origin.fault({ match: { times: 6 }, action: { status: 404 } });
  for (let i = 0; i < 6; i++) assert.equal((await ask()).status, 404);
  origin.clearFaults();
  origin.fault({ match: { times: 5 }, action: { status: 500 } });
  for (let i = 0; i < 5; i++) assert.ok(hasCode(await ask(), 'origin-broken'));
  assert.ok(hasCode(await ask(), 'origin-failing'));
});

test('a closed port 80 says nothing of the same host at 443', async () => {
  await using origin = await startOrigin();
  const resolver = { resolve: async () => [] };
  await using parts = rig(origin, { resolver, retry: { attempts: 1 } });
  const ask = (url: string) =>
    parts.http
      .send({ method: 'GET', url, headers: [], signal: NEVER, headTimeoutMs: 1_000 })
      .catch((error: unknown) => error);
  for (let i = 0; i < 5; i++)
    assert.ok(hasCode(await ask('http://registry.example/page'), 'origin-unreachable'));
  assert.ok(hasCode(await ask('http://registry.example/page'), 'origin-failing'));
  assert.ok(hasCode(await ask('https://registry.example/v2/'), 'origin-unreachable'), 'it was asked');
});

test('an abort while the head is awaited ends with the reason of the signal', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  const fault = origin.fault({ action: { neverAnswer: true } });
  await using parts = rig(origin);
  const abort = new AbortController();
  const reason = new Error('gone');
  const waiting = parts.client.head(parts.upstream, blob.digest, { ...asking(), signal: abort.signal });
  setTimeout(() => abort.abort(reason), 20);
  await assert.rejects(waiting, reason);
  fault.release();
  assert.equal(await parts.value('damselfly_origin_requests_open'), 0);
});

test('an origin that refuses connections is unreachable', async () => {
  await using origin = await startOrigin();
  const host = await refusingAddress();
  await using parts = rig(origin, { listing: { origins: [entry(host, { insecure: true })] } });
  const upstream = { ...parts.upstream, origin: parts.directory.resolve(host) };
  await assert.rejects(
    parts.client.head(upstream, 'x', asking()),
    (error) => hasCode(error, 'origin-unreachable') && error.status === 502,
  );
  assert.equal(await parts.value('damselfly_origin_retries_total', { reason: 'connect' }), 2);
});

test('a repository or reference that would change the path is refused', async () => {
  await using origin = await startOrigin();
  await using parts = rig(origin);
  for (const [repository, reference] of [
    ['a/../b', 'x'],
    ['a?b', 'x'],
    ['a', 'x#y'],
    ['a b', 'x'],
    ['a\\b', 'x'],
    ['a', '..'],
    ['ä', 'x'],
  ] as const) {
    await assert.rejects(
      parts.client.head({ ...parts.upstream, repository }, reference, asking()),
      (error) => hasCode(error, 'request-malformed'),
      `${repository} ${reference}`,
    );
  }
  assert.equal(origin.requests.length, 0);
});

test('a prefetch waits behind demand and takes no more than its share', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  await using parts = rig(origin, { controlSlots: 1, maxQueued: 0 });
  const fault = origin.fault({ match: { nth: 1 }, action: { neverAnswer: true } });
  const first = parts.client.head(parts.upstream, blob.digest, asking());
  await assert.rejects(
    parts.client.head(parts.upstream, blob.digest, { ...asking(), urgency: new Urgency('prefetch') }),
    (error) => hasCode(error, 'origin-busy'),
  );
  while (fault.hits === 0) await new Promise((resolve) => setImmediate(resolve));
  fault.release();
  origin.clearFaults();
  await first.catch(() => undefined);
});

test('our own question for a manifest names every kind: distribution 2.8 hides OCI ones from those that do not', async () => {
  await using origin = await startOrigin();
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = origin.repository(REPOSITORY).addManifest({ schemaVersion: 2, mediaType });
  await using parts = rig(origin);
  assert.equal((await parts.client.head(parts.manifests, manifest.digest, asking())).status, 200);
  assert.equal(
    (await parts.client.head(parts.manifests, manifest.digest, { ...asking(), accept: [] })).status,
    200,
  );
  const [ours, silent] = origin.requests.map(({ rawHeaders }) => headerValues(rawHeaders, 'accept').join());
  assert.ok(ours?.includes(mediaType), ours);
  assert.equal(silent, '', "a client's own silence is passed on");
});
