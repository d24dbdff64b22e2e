import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { checkPorts, type PortsWorld } from '../../src/doctor/checks/ports.ts';
import { tryListen } from '../../src/doctor/host/bind.ts';
import { systemFiles } from '../../src/doctor/host/files.ts';
import { listeners } from '../../src/doctor/host/processes.ts';
import type { RunningNode } from '../../src/doctor/running-node.ts';
import { listening, refusingAddress } from '../support/listening.ts';
import { tempFolder } from '../support/temp-folder.ts';

const { signal } = new AbortController();
const NONE: RunningNode = { kind: 'none', reason: 'connection refused' };

function world(addresses: PortsWorld['addresses'], node: RunningNode = NONE): PortsWorld {
  return {
    addresses,
    node: Promise.resolve(node),
    tryListen,
    listeners: (ports, stop) => listeners(systemFiles, ports, stop),
  };
}

function tcp(host: string, port: number) {
  return { key: 'proxy.listen', address: { kind: 'tcp' as const, host, port } };
}

function nodeListening(...proxy: string[]): RunningNode {
  const listen = { proxy, admin: [], metrics: [] };
  return { kind: 'node', status: { listen } as unknown as StatusDocument };
}

test('a free port is free, and still is afterwards', async () => {
  const port = Number((await refusingAddress()).split(':')[1]);
  for (let turn = 0; turn < 2; turn += 1) {
    const [found] = await checkPorts(world([tcp('127.0.0.1', port)]), signal);
    assert.deepEqual([found?.verdict, found?.subject], ['ok', `proxy.listen 127.0.0.1:${port}`]);
  }
});

test('a taken one is told with its process, unless the running node says that it is its own', async () => {
  await using taken = await listening(createServer((socket) => socket.destroy()));
  const [found] = await checkPorts(world([tcp('127.0.0.1', taken.port)]), signal);
  assert.equal(found?.verdict, 'failed');
  if (process.platform === 'linux') assert.ok(found?.what.includes(`(pid ${process.pid})`), found?.what);
  assert.match(found?.remedy ?? '', /proxy\.listen/);
  const [own] = await checkPorts(
    world([tcp('127.0.0.1', taken.port)], nodeListening(`0.0.0.0:${taken.port}`)),
    signal,
  );
  assert.equal(own?.verdict, 'ok');
  const [other] = await checkPorts(world([tcp('127.0.0.1', taken.port)], nodeListening('0.0.0.0:1')), signal);
  assert.equal(other?.verdict, 'failed');
});

test('the ports of peers are told by what the running node says of its swarm', async () => {
  await using taken = await listening(createServer((socket) => socket.destroy()));
  const { port } = taken;
  const nodeWith = (data: string, control: string): RunningNode => {
    const listen = { proxy: [], admin: [], metrics: [] };
    const peers = { listen: { data: [data], control: [control] } };
    return { kind: 'node', status: { listen, peers } as unknown as StatusDocument };
  };
  const data = `0.0.0.0:${port}`;
  const control = `/ip4/0.0.0.0/tcp/${port}`;
  const verdict = async (node: RunningNode) =>
    (await checkPorts(world([tcp('127.0.0.1', port)], node), signal))[0]?.verdict;
  assert.equal(await verdict(nodeWith(data, '/ip4/0.0.0.0/tcp/1')), 'ok');
  assert.equal(await verdict(nodeWith('0.0.0.0:1', control)), 'ok');
  assert.equal(await verdict(nodeWith('0.0.0.0:1', `${control}/p2p/12D3KooW`)), 'ok');
  assert.equal(await verdict(nodeWith('0.0.0.0:1', `${control}0`)), 'failed');
});

test('an address of another host, a forbidden one, a random one', async () => {
  const [elsewhere] = await checkPorts(world([tcp('192.0.2.1', 4001)]), signal);
  assert.equal(elsewhere?.verdict, 'failed');
  assert.match(elsewhere?.what ?? '', /no interface/);
  const [denied] = await checkPorts(
    { ...world([tcp('127.0.0.1', 80)]), tryListen: async () => 'EACCES' },
    signal,
  );
  assert.match(denied?.remedy ?? '', /above 1023/);
  const [random] = await checkPorts(
    { ...world([tcp('127.0.0.1', 0)]), tryListen: () => Promise.reject(new Error('asked')) },
    signal,
  );
  assert.equal(random?.verdict, 'skipped');
});

test('a unix socket: none, a stale one, one that somebody answers at', async (t) => {
  const folder = await tempFolder(t);
  const path = folder.file('d.sock');
  const at = [{ key: 'proxy.listen', address: { kind: 'unix' as const, path } }];
  assert.equal((await checkPorts(world(at), signal))[0]?.verdict, 'ok');
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  assert.equal((await checkPorts(world(at), signal))[0]?.verdict, 'failed');
  assert.equal((await checkPorts(world(at, nodeListening(`unix:${path}`)), signal))[0]?.verdict, 'ok');
  await new Promise((resolve) => server.close(resolve));
});
