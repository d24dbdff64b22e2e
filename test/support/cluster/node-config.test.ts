import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import test from 'node:test';
import { loadConfig } from '../../../config/load.ts';
import { tempFolder } from '../temp-folder.ts';
import { nodeConfig, type PeerSetup } from './node-config.ts';

const ALONE = {
  address: '127.1.2.3',
  cacheDir: '/tmp/none',
  originHost: '127.1.2.250:5000',
  peers: undefined,
  more: {},
};
const PEERS: PeerSetup = {
  networkKeyFile: '/tmp/network.key',
  transport: 'tls',
  members: ['127.1.2.2', '127.1.2.3'],
  zone: 'zone-1',
  rate: 20e6,
};

test('a node without peers has its own address and its origin', async (t) => {
  const config = await loaded(t, nodeConfig(ALONE));
  assert.equal(config.peer.enabled, false);
  assert.equal(config.proxy.defaultOrigin, 'http://127.1.2.250:5000');
  assert.equal(config.cache.dir, '/tmp/none');
});

test('a node with peers lists the others, shares the key and limits itself', async (t) => {
  const { peer } = await loaded(t, nodeConfig({ ...ALONE, peers: PEERS }));
  assert.equal(peer.enabled, true);
  assert.deepEqual(peer.discovery.static, ['127.1.2.2:4006']);
  assert.deepEqual(peer.listen, ['/ip4/127.1.2.3/tcp/4006']);
  assert.equal(peer.networkKeyFile, '/tmp/network.key');
  assert.equal(peer.zone, 'zone-1');
  assert.equal(peer.uploadBytesPerSecond, 20e6);
  assert.equal(peer.downloadBytesPerSecond, 20e6);
});

test('more of the configuration is laid over the rest, key by key', async (t) => {
  const config = await loaded(
    t,
    nodeConfig({ ...ALONE, more: { cache: { maxBytes: '64MiB' }, access: { mode: 'node' } } }),
  );
  assert.equal(config.cache.maxBytes, 64 << 20);
  assert.equal(config.cache.dir, '/tmp/none');
  assert.equal(config.access.mode, 'node');
});

async function loaded(t: test.TestContext, text: string) {
  const file = (await tempFolder(t)).file('damselfly.yaml');
  await writeFile(file, text);
  return loadConfig({ file, env: {}, set: [] }).config;
}
