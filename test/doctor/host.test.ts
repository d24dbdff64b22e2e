import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { loadConfig } from '../../config/load.ts';
import { addressesOf, keyFilesOf } from '../../src/doctor/configured.ts';
import { dial, ownAddresses } from '../../src/doctor/host/network.ts';
import { fileSystem, kindOf, modeOf, writable } from '../../src/doctor/host/paths.ts';
import { listening } from '../support/listening.ts';
import { tempFolder } from '../support/temp-folder.ts';

test('paths: what is there, and what is not by its errno', async (t) => {
  const folder = await tempFolder(t);
  await writeFile(folder.file('key'), 'x', { mode: 0o640 });
  assert.equal(await kindOf(folder.path), 'folder');
  assert.equal(await kindOf(folder.file('key')), 'other');
  assert.equal(await kindOf(folder.file('none')), 'ENOENT');
  assert.equal(await writable(folder.path), null);
  assert.equal(await writable(folder.file('none')), 'ENOENT');
  assert.equal(Number(await modeOf(folder.file('key'))) & 0o777, 0o640);
  assert.equal(await modeOf(folder.file('none')), 'ENOENT');
  const { blockBytes, blocks, freeBlocks } = await fileSystem(folder.path);
  assert.ok(blockBytes > 0 && freeBlocks > 0 && freeBlocks <= blocks);
});

test('the network: own addresses, and whether somebody answers', async (t) => {
  assert.ok(ownAddresses().has('127.0.0.1'));
  const server = await listening(createServer((socket) => socket.destroy()));
  t.after(() => server.close());
  const port = Number(server.host.split(':')[1]);
  await dial('127.0.0.1', port, AbortSignal.timeout(5_000));
  await server.close();
  await assert.rejects(dial('127.0.0.1', port, AbortSignal.timeout(5_000)), { code: 'ECONNREFUSED' });
});

function configOf(set: readonly string[]) {
  return loadConfig({ env: {}, set, defaultFile: '/nonexistent/damselfly.yaml' }).config;
}

test('addresses of a configuration, those of peers only where they are on', () => {
  const keys = (set: readonly string[]) => addressesOf(configOf(set)).map(({ key }) => key);
  const own = ['proxy.listen', 'metrics.listen', 'admin.listen'];
  assert.deepEqual(keys([]), own);
  assert.deepEqual(keys(['proxy.listeners=[{"listen":"127.0.0.1:1"}]']), [
    'proxy.listen',
    'proxy.listeners[0].listen',
    ...own.slice(1),
  ]);
  const peers = addressesOf(configOf(['peer.enabled=true', 'peer.insecure=true'])).slice(own.length);
  assert.deepEqual(peers, [
    { key: 'peer.dataListen', address: { kind: 'tcp', host: '0.0.0.0', port: 4005 } },
    { key: 'peer.listen', address: { kind: 'tcp', host: '0.0.0.0', port: 4006 } },
  ]);
});

test('files of a configuration: which are secret, and which may be missing', () => {
  const files = keyFilesOf(
    configOf([
      'admin.tokenFile=/a',
      'proxy.tls={"certFile":"/c","keyFile":"/k"}',
      'origins=[{"host":"registry.example.com","credentialsFile":"/d","ca":"/e"}]',
    ]),
  );
  assert.deepEqual(files, [
    { key: 'admin.tokenFile', path: '/a', isSecret: true, mayBeMissing: false },
    { key: 'proxy.tls.keyFile', path: '/k', isSecret: true, mayBeMissing: false },
    { key: 'proxy.tls.certFile', path: '/c', isSecret: false, mayBeMissing: false },
    { key: 'origins[0].credentialsFile', path: '/d', isSecret: true, mayBeMissing: true },
    { key: 'origins[0].ca', path: '/e', isSecret: false, mayBeMissing: false },
  ]);
});
