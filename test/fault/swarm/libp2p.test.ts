import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ClusterNode } from '../../support/cluster/cluster-node.ts';
import { eventually } from '../../support/eventually.ts';
import { Crowd } from '../support/crowd.ts';
import { MIB } from '../support/reads.ts';

const ORIGIN_RATE = 8e6;
const NODES = 4;
/** The origin may send so much of a blob a second time. */
const EXTRA = 0.1;

describe('a crowd whose pieces go over libp2p', () => {
  let crowd: Crowd;
  before(async () => {
    crowd = await Crowd.start(
      { crowd: 32 * MIB + 5, after: 12 * MIB + 1 },
      { nodes: NODES, originRate: ORIGIN_RATE, transport: 'libp2p' },
    );
  });
  after(() => crowd?.[Symbol.asyncDispose]());

  it('all want one cold blob at once: the origin is read once', async (t) => {
    const blob = crowd.blob('crowd');
    crowd.assertRight(blob, await crowd.readAll(blob));
    await crowd.assertCost(t, blob, (EXTRA * blob.size) / MIB);
    await assertWell(crowd.nodes);
    for (const node of crowd.nodes) {
      const metrics = await node.metrics();
      const received = metrics.sum('damselfly_peer_received_bytes_total', { transport: 'libp2p' });
      assert.ok(received > blob.size / 2, `${node.name} received ${received} bytes over libp2p`);
      assert.equal(metrics.sum('damselfly_peer_received_bytes_total', { transport: 'tls' }), 0);
    }
  });

  it('nobody dies of connections that end, by a kill or in order, and the others read on', async (t) => {
    const [killed, stopped, ...others] = crowd.nodes;
    assert.ok(killed && stopped);
    const known = crowd.blob('crowd');
    const blob = crowd.blob('after');
    // In the middle of sending something, so that connections end with much on its way.
    const reading = crowd.readAll(blob, others);
    await Promise.all([killed.kill(), stopped.stop()]);
    crowd.assertRight(blob, await reading);
    await eventually(async () => {
      const states = await Promise.all(others.map((node) => node.status()));
      return states.every(({ peers }) => peers?.totals.live === others.length - 1);
    });
    await assertWell(others);
    await crowd.cluster.startAll();
    await crowd.cluster.settled();
    await crowd.cluster.origin.reset();
    crowd.assertRight(known, await crowd.readAll(known));
    await crowd.assertCost(t, known, -known.size / MIB + EXTRA);
    await assertWell(crowd.nodes);
  });
});

/** Each runs, and none has met an error that nobody expected. */
async function assertWell(nodes: readonly ClusterNode[]): Promise<void> {
  for (const node of nodes) {
    assert.ok(node.isAlive, `${node.name} has died: ${(await node.log()).slice(-2_000)}`);
    assert.doesNotMatch(await node.log(), /"level":"fatal"/);
  }
}
