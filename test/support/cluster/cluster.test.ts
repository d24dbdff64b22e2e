import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually } from '../eventually.ts';
import { cannotMakeNetns } from '../netns/cannot.ts';
import { type Cluster, startCluster } from './cluster.ts';
import type { ClusterNode, ReadRequest } from './cluster-node.ts';
import type { Form } from './place.ts';

const MIB = 1 << 20;
const BLOB = { size: 3 * MIB + 12_345, seed: 'cluster' };
const READ_TIMEOUT_MS = 30_000;

test('loopback: nodes serve, die, freeze, come back with what they had, and are gone at the end', async () => {
  const pids = await withCluster('loopback', async (cluster) => {
    const blob = blobOf(cluster);
    const [first, second] = [cluster.node(0), cluster.node(1)];
    await readAll(first, blob);
    const metrics = await first.metrics();
    assert.equal(metrics.sum('damselfly_received_bytes_total', { source: 'origin' }), blob.size);
    assert.equal((await first.status()).traffic.originBytes, blob.size);
    assert.equal((await second.status()).traffic.originBytes, 0, 'each has a cache of its own');
    assert.ok(first.usage().peakMiB > 10);

    await first.kill();
    assert.equal(first.isAlive, false);
    assert.equal(await first.isHealthy(), false);
    await cluster.startAll();
    // What the index had not yet written is read again.
    await readAll(first, blob);
    await first.restart();
    const sent = await cluster.origin.bytesSent();
    const spans = await first.read({
      ...{ blob, timeoutMs: READ_TIMEOUT_MS },
      lanes: [[{ start: 10, end: 2 * MIB }], [{ start: 5, end: 6 }]],
    });
    assert.equal(spans.failure, null);
    assert.equal(spans.bytes, 2 * MIB - 9);
    assert.equal(spans.wrongBytes, 0);
    assert.equal(await cluster.origin.bytesSent(), sent, 'a stop keeps what the node has');

    second.freeze();
    assert.equal(await second.isHealthy(), false);
    second.thaw();
    await eventually(() => second.isHealthy(), { timeoutMs: READ_TIMEOUT_MS });
    return [...cluster.nodes.map((node) => node.pid), cluster.origin.pid];
  });
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('netns: what a node reads comes over its own link', { skip: cannotMakeNetns }, async () => {
  const pids = await withCluster('netns', async (cluster) => {
    const blob = blobOf(cluster);
    await readAll(cluster.node(0), blob);
    const traffic = await cluster.lab.traffic();
    assert.ok((traffic.get('node-1')?.downBytes ?? 0) >= blob.size);
    assert.ok((traffic.get('origin')?.upBytes ?? 0) >= blob.size);
    assert.ok((traffic.get('node-2')?.downBytes ?? blob.size) < blob.size / 10);
    return [...cluster.nodes.map((node) => node.pid), cluster.origin.pid];
  });
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('a node that does not start says why, and nothing of the cluster is left', async () => {
  const starting = startCluster({
    ...{ nodes: 2, origin: {} },
    each: (index) => (index === 1 ? { config: { cache: { maxBytes: 'much' } } } : {}),
  });
  await assert.rejects(starting, /node-2(?:.|\n)*cache\.maxBytes/);
});

test('a clock that is an hour ahead is ahead for the node; without peers a cluster never settles', async () => {
  const hourMs = 3_600_000;
  await using cluster = await startCluster({ nodes: 1, origin: {}, each: () => ({ clockSkewMs: hourMs }) });
  const status = await cluster.node(0).status();
  const aheadMs = Date.parse(status.startedAt) - Date.now();
  assert.ok(Math.abs(aheadMs - hourMs) < 60_000, `it started in ${aheadMs} ms`);
  await assert.rejects(cluster.settled(), /the peers of node-1 are off/);
});

async function withCluster<T>(form: Form, work: (cluster: Cluster) => Promise<T>): Promise<T> {
  await using cluster = await startCluster({
    ...{ form, nodes: 2, rate: 50e6, originRate: 50e6 },
    origin: { repositories: { 'lab/app': { blobs: [BLOB] } } },
  });
  return await work(cluster);
}

async function readAll(node: ClusterNode, blob: ReadRequest['blob']): Promise<void> {
  const whole = await node.read({ blob, timeoutMs: READ_TIMEOUT_MS });
  assert.equal(whole.failure, null);
  assert.equal(whole.wrongBytes, 0);
  assert.equal(whole.bytes, blob.size);
}

function blobOf(cluster: Cluster) {
  const blob = cluster.origin.repositories['lab/app']?.blobs[0];
  assert.ok(blob);
  return { ...blob, seed: BLOB.seed };
}
