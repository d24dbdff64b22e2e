import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { type TestContext, test } from 'node:test';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { FaultyDisk } from '../store/faulty-disk.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';
import { selfSigned, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode, type TestNode } from './support/node.ts';
import { setup } from './support/setup.ts';

const MIB = 1 << 20;

/** Effects of configuration keys on a whole node, where no other file of integration/ or fault/ is about them. */
async function scene(
  t: TestContext,
): Promise<{ folder: Awaited<ReturnType<typeof tempFolder>>; origin: TestOrigin }> {
  const folder = await tempFolder(t);
  const origin = await startOrigin();
  t.after(() => origin.close());
  return { folder, origin };
}

async function node(t: TestContext, dir: string, set: readonly string[]): Promise<TestNode> {
  const started = await startNode(dir, set);
  t.after(() => started.stop());
  return started;
}

const originKeys = (...entries: object[]): string => `origins=${JSON.stringify(entries)}`;
const source = (answer: HttpAnswer): string | undefined => answer.header('x-damselfly-source');

test('8.28 proxy.tls and proxy.listeners[].{listen,origin,tls}: each port as it is told', async (t) => {
  const { folder, origin } = await scene(t);
  const other = await startOrigin();
  t.after(() => other.close());
  const here = origin.repository('lab/x').addBlob({ size: 100, seed: 'default' });
  const there = other.repository('lab/x').addBlob({ size: 100, seed: 'other' });
  const certificates = { node: await selfSigned(), own: await selfSigned() };
  for (const [name, { cert, key }] of Object.entries(certificates)) {
    await writeFile(folder.file(`${name}.crt`), cert);
    await writeFile(folder.file(`${name}.key`), key, { mode: 0o600 });
  }
  const own = { certFile: folder.file('own.crt'), keyFile: folder.file('own.key') };
  const listeners = [
    { listen: [`unix:${folder.file('proxy.sock')}`, '127.0.0.1:0'], origin: other.url },
    { listen: '127.0.0.1:0', tls: true },
    { listen: '127.0.0.1:0', tls: own },
  ];
  const { addresses } = await node(t, folder.file('cache'), [
    originKeys({ host: origin.host, insecure: true }, { host: other.host, insecure: true }),
    `proxy.defaultOrigin=${origin.url}`,
    `proxy.tls.certFile=${folder.file('node.crt')}`,
    `proxy.tls.keyFile=${folder.file('node.key')}`,
    `proxy.listeners=${JSON.stringify(listeners)}`,
  ]);
  const [main, unix, plain, tls, ownTls] = addresses.proxy;
  const cases: readonly (readonly [string, TestBlob, TestBlob, Parameters<typeof httpGet>[1]])[] = [
    [`https://${main}`, here, there, { ca: certificates.node.cert }],
    ['http://unix', there, here, { socketPath: String(unix).slice('unix:'.length) }],
    [`http://${plain}`, there, here, {}],
    [`https://${tls}`, here, there, { ca: certificates.node.cert }],
    [`https://${ownTls}`, here, there, { ca: certificates.own.cert }],
  ];
  for (const [url, has, lacks, options] of cases) {
    assert.equal((await httpGet(url + has.path, options)).status, 200, url);
    assert.equal((await httpGet(url + lacks.path, options)).status, 404, url);
    // Warm, by whatever way bytes leave under TLS and through a unix socket.
    const warm = await httpGet(url + has.path, options);
    assert.equal(warm.bytes, 100, url);
  }
  await assert.rejects(httpGet(`https://${ownTls}/v2`, { ca: certificates.node.cert }));
  await assert.rejects(httpGet(`http://${main}/v2`));
});

test('origins[].names: a Host header that means an origin', async (t) => {
  const { folder, origin } = await scene(t);
  const blob = origin.repository('lab/x').addBlob({ size: 100, seed: 'named' });
  const names = ['registry.node.local:4001', 'other.node.local'];
  const { url } = await node(t, folder.file('cache'), [
    originKeys({ host: origin.host, insecure: true, names }),
  ]);
  for (const Host of names) assert.equal((await httpGet(url + blob.path, { headers: { Host } })).status, 200);
  // Nothing else says which registry is meant.
  assert.equal((await httpGet(url + blob.path, { headers: { Host: 'unnamed.node.local' } })).status, 502);
});

test('origins[].url: where requests really go; the origin stays what it is called', async (t) => {
  const { folder, origin } = await scene(t);
  const blob = origin.repository('lab/x').addBlob({ size: 100, seed: 'moved' });
  const { url } = await node(t, folder.file('cache'), [
    originKeys({ host: 'registry.example.test', url: origin.url }),
  ]);
  const named = { 'X-Dragonfly-Registry': 'https://registry.example.test' };
  assert.equal((await httpGet(url + blob.path, { headers: named })).status, 200);
  assert.equal(origin.requests.length > 0, true);
});

test('origins[].ca and .insecure: https is verified with it, and is plain only where that is said', async (t) => {
  const folder = await tempFolder(t);
  const certificate = await selfSigned();
  await writeFile(folder.file('ca.crt'), certificate.cert);
  const secure = await startOrigin({ tls: certificate });
  t.after(() => secure.close());
  const blob = secure.repository('lab/x').addBlob({ size: 100, seed: 'secure' });
  const ask = async (name: string, keys: object): Promise<number> => {
    const { url } = await node(t, folder.file(name), [
      originKeys({ host: secure.host, ...keys }),
      `proxy.defaultOrigin=${secure.host}`,
    ]);
    return (await httpGet(url + blob.path)).status;
  };
  assert.equal(await ask('trusted', { ca: folder.file('ca.crt') }), 200);
  for (const [name, keys] of Object.entries({ unknown: {}, plain: { insecure: true } })) {
    const status = await ask(name, keys);
    assert.ok(status === 502 || status === 503, `${name}: ${status}`);
  }
  await assert.rejects(ask('missing', { ca: folder.file('nowhere.crt') }), /origins\[0\]\.ca/);
});

test('origins[].proxy: the way to this origin', async (t) => {
  const { folder, origin } = await scene(t);
  const blob = origin.repository('lab/x').addBlob({ size: 100, seed: 'by proxy' });
  const seen: (string | undefined)[] = [];
  const proxy = await listening(
    createServer((request: IncomingMessage, response) => {
      seen.push(request.url);
      const { method, headers } = request;
      request.pipe(
        httpRequest(String(request.url), { method, headers, agent: false }, (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
          answer.pipe(response);
        }),
      );
    }),
  );
  t.after(() => proxy.close());
  const { url } = await node(t, folder.file('cache'), [
    originKeys({ host: origin.host, insecure: true, proxy: proxy.url }),
    `proxy.defaultOrigin=${origin.url}`,
  ]);
  assert.equal((await httpGet(url + blob.path)).status, 200);
  assert.deepEqual(seen, [origin.url + blob.path]);
});

test('proxy.headersTimeout: of ranged reads, and of nothing else', async (t) => {
  const { origin, node: short } = await setup(t, { set: ['proxy.headersTimeout=300ms'] });
  const blob = origin.repository('lab/x').addBlob({ size: 1000, seed: 'late' });
  origin.fault({ match: { endpoint: 'blob' }, action: { delayHeadMs: 1_200 } });
  const [ranged, whole] = await Promise.all([
    httpGet(short.url + blob.path, { headers: { Range: 'bytes=0-9' } }),
    httpGet(short.url + blob.path),
  ]);
  assert.equal(ranged.status, 504);
  assert.ok(ranged.headMs < 1_100, `${ranged.headMs} ms`);
  assert.equal(whole.status, 200);
});

test('cache.memoryBytes: 0 leaves the disk alone to answer', async (t) => {
  for (const [memoryBytes, where] of [
    ['0', 'disk'],
    ['8MiB', 'memory'],
  ]) {
    const { origin, node: one } = await setup(t, { set: [`cache.memoryBytes=${memoryBytes}`] });
    const blob = origin.repository('lab/x').addBlob({ size: 5000, seed: 'small' });
    assert.equal((await httpGet(one.url + blob.path)).status, 200);
    await eventually(async () => source(await httpGet(one.url + blob.path)) === where, { what: where });
  }
});

test('cache.maxBytes: bounds what is kept', async (t) => {
  const { origin, node: one } = await setup(t, { set: ['cache.maxBytes=48MiB', 'cache.memoryBytes=0'] });
  const blobs = Array.from({ length: 5 }, (_, seed) =>
    origin.repository('lab/x').addBlob({ size: 16 * MIB, seed }),
  );
  for (const blob of blobs) assert.equal((await httpGet(one.url + blob.path)).status, 200);
  const answer = await httpGet(`http://${one.addresses.admin[0]}/api/v1/status`);
  const { cache } = answer.json() as StatusDocument;
  assert.equal(cache.maxBytes, 48 * MIB);
  assert.ok(cache.usedBytes <= 48 * MIB, String(cache.usedBytes));
  assert.ok(cache.usedBytes >= 16 * MIB, String(cache.usedBytes));
});

test('cache.minFree: what the file system must keep is not taken', async (t) => {
  const disk = new FaultyDisk();
  disk.space = { freeBytes: 100 * MIB };
  const ask = async (minFree: string, wanted: string): Promise<void> => {
    const set = [`cache.minFree=${minFree}`, 'cache.memoryBytes=0'];
    const { origin, node: one } = await setup(t, { disk, set });
    const blob = origin.repository('lab/x').addBlob({ size: 2 * MIB, seed: 'free' });
    for (let i = 0; i < 3; i += 1) assert.equal((await httpGet(one.url + blob.path)).status, 200);
    await origin.idle();
    const first = { headers: { Range: 'bytes=0-1048575' } };
    const from = async (): Promise<string | undefined> => source(await httpGet(one.url + blob.path, first));
    // A disk that was late for one piece is offered it again after a while.
    if (wanted === 'disk') await eventually(async () => (await from()) === wanted, { timeoutMs: 15_000 });
    else assert.equal(await from(), wanted);
  };
  await ask('50MiB', 'disk');
  await ask('200MiB', 'origin');
});

test('access.grace: while the origin is down, and then no longer', async (t) => {
  const set = ['access.whenOriginDown=allow', 'access.ttl=1ms', 'access.grace=2s'];
  const { origin, node: one } = await setup(t, { set });
  const blob = origin.repository('lab/x').addBlob({ size: 1000, seed: 'grace' });
  assert.equal((await httpGet(one.url + blob.path)).status, 200);
  await origin.down();
  const get = () => httpGet(one.url + blob.path, { headers: { Range: 'bytes=0-9' } });
  assert.equal((await get()).status, 206);
  await eventually(async () => (await get()).status === 503, { everyMs: 100 });
});

test('admin.tokenFile: nothing is done on the admin port without its token', async (t) => {
  const folder = await tempFolder(t);
  await writeFile(folder.file('token'), 'open-sesame\n', { mode: 0o600 });
  const { origin, node: one } = await setup(t, { set: [`admin.tokenFile=${folder.file('token')}`] });
  const blob = origin.repository('lab/x').addBlob({ size: 1000, seed: 'token' });
  const prefetch = (headers: Record<string, string>) =>
    httpGet(`http://${one.addresses.admin[0]}/api/v1/prefetch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ reference: origin.url + blob.path }),
    });
  assert.equal((await prefetch({})).status, 401);
  assert.equal((await prefetch({ authorization: 'Bearer open' })).status, 401);
  const done = await prefetch({ authorization: 'Bearer open-sesame' });
  assert.equal(done.status, 200);
  assert.match(done.body.toString(), /"event":"done"/);
  await assert.rejects(
    startNode(folder.file('c'), [`admin.tokenFile=${folder.file('none')}`]),
    /admin\.tokenFile/,
  );
});
