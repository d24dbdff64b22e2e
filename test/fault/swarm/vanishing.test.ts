import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import type { ClusterNode } from '../../support/cluster/cluster-node.ts';
import { Crowd, type CrowdBlob, exchanged, idOf, planners } from '../support/crowd.ts';
import { MIB } from '../support/reads.ts';

const ORIGIN_RATE = 8e6;
const NODES = 4;
/** Who vanishes takes the pieces with it that it was reading under leases; each of the others may hedge two that are late. */
const LOST_PIECES = 8 + 2 * (NODES - 1);

describe('members that vanish while others read', () => {
  let crowd: Crowd;
  before(async () => {
    crowd = await Crowd.start(
      { stopped: 32 * MIB + 5, planned: 16 * MIB, after: 24 * MIB + 1 },
      { nodes: NODES, originRate: ORIGIN_RATE },
    );
  });
  after(() => crowd?.[Symbol.asyncDispose]());

  it('a member that is stopped in mid-transfer holds nobody up, and reads on when it is continued', async (t) => {
    const blob = crowd.blob('stopped');
    const stopped = crowd.node(NODES - 1);
    const others = crowd.nodes.slice(0, -1);
    const had = await stopped.agent.progress();
    const reading = crowd.readAll(blob, others);
    const readingOn = crowd.read(stopped, blob);
    await crowd.progress(stopped, 4 * MIB, had);
    stopped.freeze();
    try {
      crowd.assertRight(blob, await reading);
      await crowd.assertCost(t, blob, LOST_PIECES);
    } finally {
      stopped.thaw();
    }
    const sinceMs = Date.now();
    crowd.assertRight(blob, [await readingOn], { sinceMs });
    await crowd.cluster.settled();
  });

  it('a planner that is killed while readers wait on it is replaced by its understudy', async (t) => {
    const blob = crowd.blob('planned');
    const planner = await plannerOf(blob, crowd.nodes);
    const readers = crowd.nodes.filter((node) => node !== planner);
    const [first] = readers;
    assert.ok(first);
    const had = await first.agent.progress();
    const reading = crowd.readAll(blob, readers);
    await crowd.progress(first, 2 * MIB, had);
    await planner.kill();
    crowd.assertRight(blob, await reading);
    await crowd.assertCost(t, blob, LOST_PIECES);
  });

  it('all of them exchange pieces again once everybody is back', async (t) => {
    await crowd.cluster.startAll();
    await crowd.cluster.settled();
    const blob = crowd.blob('after');
    const before = await Promise.all(crowd.nodes.map(exchanged));
    crowd.assertRight(blob, await crowd.readAll(blob));
    await crowd.assertCost(t, blob, 3);
    for (const [index, node] of crowd.nodes.entries())
      assert.ok((await exchanged(node)) > (before[index] ?? 0), `${node.name} had no part in it`);
  });
});

/** Of the blob's first segment. */
async function plannerOf(blob: CrowdBlob, nodes: readonly ClusterNode[]): Promise<ClusterNode> {
  const ids = await Promise.all(nodes.map(idOf));
  const planner = nodes[ids.indexOf(planners(blob, 0, ids)[0] as PeerId)];
  assert.ok(planner);
  return planner;
}
