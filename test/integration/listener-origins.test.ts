// Clients that cannot say which registry they mean: the listener or the Host name says it.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { httpGet } from '../support/http-get.ts';
import { seededBytes, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';

const SIZE = 300_000;
const PATH_PREFIX = 'mirrors/hub';

/** Two registries with a blob each, a listener and a Host name for each, and no default. */
async function lab(t: TestContext) {
  const folder = await tempFolder(t);
  const [one, two] = await Promise.all([startOrigin(), startOrigin()]);
  t.after(() => one.close());
  t.after(() => two.close());
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify([
      { host: one.host, insecure: true, names: ['one.node.local', 'one.node.local:4001'] },
      { host: two.host, insecure: true, names: ['two.node.local'] },
    ])}`,
    `proxy.listeners=${JSON.stringify([
      { listen: '127.0.0.1:0', origin: one.url },
      { listen: '127.0.0.1:0', origin: two.url },
    ])}`,
  ]);
  t.after(() => node.stop());
  const blobs = {
    one: one.repository('lab/app').addBlob({ size: SIZE, seed: 'one' }),
    two: two.repository('lab/app').addBlob({ size: SIZE, seed: 'two' }),
    prefixed: one.repository(`${PATH_PREFIX}/lab/app`).addBlob({ size: SIZE, seed: 'prefixed' }),
  };
  const [, first, second] = node.addresses.proxy;
  return { node, one, two, blobs, first: `http://${first}`, second: `http://${second}` };
}

const EXPECTED = { start: 100, end: 2000 };
const RANGE = { Range: 'bytes=100-1999' };

test('a listener each: nydus-snapshotter, SOCI and stargz of today, which name nothing', async (t) => {
  const { first, second, blobs } = await lab(t);
  for (const [url, blob, seed, agent] of [
    [first, blobs.one, 'one', 'soci-snapshotter/0.11.1'],
    [second, blobs.two, 'two', 'containerd-stargz-grpc/0.18'],
    [first, blobs.one, 'one', undefined],
  ] as const) {
    const own: Record<string, string> = agent === undefined ? {} : { 'User-Agent': agent };
    const probe = await httpGet(url + blob.path, { headers: { Range: 'bytes=0-1', ...own } });
    assert.equal(probe.status, 206);
    assert.equal(probe.header('accept-ranges'), 'bytes');
    const part = await httpGet(url + blob.path, { headers: { ...RANGE, ...own } });
    assert.ok(part.body.equals(seededBytes(seed, EXPECTED)));
  }
  assert.equal((await httpGet(first + blobs.two.path)).status, 404);
  assert.equal((await httpGet(second + blobs.one.path)).status, 404);
});

test('a Host name each, with the port that the client sends and without one', async (t) => {
  const { node, blobs } = await lab(t);
  for (const [Host, blob, seed] of [
    ['one.node.local', blobs.one, 'one'],
    ['one.node.local:4001', blobs.one, 'one'],
    ['two.node.local:4001', blobs.two, 'two'],
    ['TWO.node.local', blobs.two, 'two'],
  ] as const) {
    const part = await httpGet(node.url + blob.path, { headers: { Host, ...RANGE } });
    assert.equal(part.status, 206, Host);
    assert.ok(part.body.equals(seededBytes(seed, EXPECTED)));
  }
  // A 404 of ours would keep nydusd from asking the registry.
  assert.equal((await httpGet(node.url + blobs.one.path)).status, 502);
});

test('what a request says goes before what its listener means, and that before its Host', async (t) => {
  const { first, one, two, blobs } = await lab(t);
  const status = async (headers: Record<string, string>, query = ''): Promise<number> =>
    (await httpGet(`${first}${blobs.two.path}${query}`, { headers: { ...RANGE, ...headers } })).status;
  assert.equal(await status({}, `?ns=${two.host}`), 206);
  assert.equal(await status({ 'X-Dragonfly-Registry': two.url }), 206);
  assert.equal(await status({ 'X-Dragonfly-Registry': two.url }, `?ns=${one.host}`), 206);
  assert.equal(await status({ Host: 'two.node.local' }), 404);
});

test("podman's mirror location with a path: the path is part of the repository", async (t) => {
  const { node, blobs, one } = await lab(t);
  const headers = { Host: 'one.node.local:4001' };
  assert.equal((await httpGet(`${node.url}/v2/`, { headers })).status, 200);
  const whole = await httpGet(node.url + blobs.prefixed.path, { headers });
  assert.equal(whole.status, 200);
  assert.ok(whole.body.equals(seededBytes('prefixed', { start: 0, end: SIZE })));
  assert.ok(one.requests.some(({ path }) => path.startsWith(`/v2/${PATH_PREFIX}/lab/app/`)));
});

test('GET /v2/ is the answer of the origin that the listener means', async (t) => {
  const folder = await tempFolder(t);
  const locked = await startOrigin({ auth: 'token', users: { alice: 'x' } });
  t.after(() => locked.close());
  const open = await startOrigin();
  t.after(() => open.close());
  const node = await startNode(folder.file('cache'), [
    `proxy.listeners=${JSON.stringify([locked, open].map(({ url }) => ({ listen: '127.0.0.1:0', origin: url })))}`,
  ]);
  t.after(() => node.stop());
  const [, first, second] = node.addresses.proxy;
  const challenge = await httpGet(`http://${first}/v2/`);
  assert.equal(challenge.status, 401);
  assert.match(challenge.header('www-authenticate') ?? '', /^Bearer realm="/);
  assert.equal((await httpGet(`http://${second}/v2/`)).status, 200);
});
