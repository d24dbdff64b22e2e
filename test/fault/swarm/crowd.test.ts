import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { Crowd } from '../support/crowd.ts';
import { MIB } from '../support/reads.ts';

const SLOW = 5e6;
const READERS = 8;
const WARM_COST = 0.05;
/** A slow origin may send so much of the blob a second time. */
const SLOW_EXTRA = 0.1;

describe('a crowd of eight, and a ninth', () => {
  let crowd: Crowd;
  before(async () => {
    crowd = await Crowd.start(
      { slow: 40 * MIB + 5, died: 32 * MIB + 7 },
      { nodes: READERS + 1, originRate: SLOW },
    );
    // It joins later, with nothing.
    const ninth = crowd.node(READERS);
    await ninth.stop();
    await rm(ninth.cacheDir, { recursive: true });
  });
  after(() => crowd?.[Symbol.asyncDispose]());
  const eight = () => crowd.nodes.slice(0, READERS);

  it('a slow origin is read once for eight cold readers', async (t) => {
    const blob = crowd.blob('slow');
    crowd.assertRight(blob, await crowd.readAll(blob, eight()));
    await crowd.assertCost(t, blob, (SLOW_EXTRA * blob.size) / MIB);
  });

  it('after a restart one by one, with the caches kept, a new member reads from the others', async (t) => {
    for (const node of eight()) await node.restart();
    await crowd.cluster.startAll();
    await crowd.cluster.settled();
    const blob = crowd.blob('slow');
    await crowd.cluster.origin.reset();
    crowd.assertRight(blob, [await crowd.read(crowd.node(READERS), blob, MIB)]);
    await crowd.assertCost(t, blob, WARM_COST * (blob.size / MIB) - blob.size / MIB);
  });

  it('after a restart of all at once, with the caches kept, a member that lost its own does so too', async (t) => {
    await crowd.cluster.killAll();
    const emptied = crowd.node(1);
    await rm(emptied.cacheDir, { recursive: true });
    await crowd.cluster.origin.reset();
    await crowd.cluster.startAll();
    const blob = crowd.blob('slow');
    crowd.assertRight(blob, [await crowd.read(emptied, blob)]);
    await crowd.assertCost(t, blob, WARM_COST * (blob.size / MIB) - blob.size / MIB);
  });

  it('a quarter of the members is killed in mid-transfer: the others finish', async (t) => {
    await crowd.cluster.settled();
    const blob = crowd.blob('died');
    await crowd.cluster.origin.reset();
    const [one, other, ...survivors] = eight();
    assert.ok(one && other);
    const had = await one.agent.progress();
    const dying = crowd.readAll(blob, [one, other]);
    const reading = crowd.readAll(blob, survivors);
    await crowd.progress(one, 6 * MIB, had);
    await Promise.all([one.kill(), other.kill()]);
    await Promise.all([one.agent.abandon(), other.agent.abandon()]);
    await dying;
    crowd.assertRight(blob, await reading);
    await crowd.assertCost(t, blob, (0.3 * blob.size) / MIB);
  });
});
