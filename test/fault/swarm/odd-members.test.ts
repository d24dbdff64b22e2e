import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Crowd, exchanged } from '../support/crowd.ts';
import { MIB } from '../support/reads.ts';
import { cannotMount, SmallDisk } from '../support/small-disk.ts';

const HOUR_MS = 3_600_000;
const [AHEAD, BEHIND, SMALL, FULL] = [0, 1, 2, 3];
const NODES = 4;

describe('members that are odd in one way each', { skip: cannotMount }, () => {
  let disk: SmallDisk | undefined;
  let crowd: Crowd;
  before(async () => {
    const mounted = await SmallDisk.mount('size=96m');
    disk = mounted;
    crowd = await Crowd.start(
      { clocks: 24 * MIB + 5, evicted: 40 * MIB + 5, evicting: 40 * MIB + 6, full: 24 * MIB + 7 },
      {
        ...{ nodes: NODES, originRate: 20e6 },
        each: (index) => {
          if (index === AHEAD) return { clockSkewMs: HOUR_MS };
          if (index === BEHIND) return { clockSkewMs: -HOUR_MS };
          if (index === SMALL) return { config: { cache: { maxBytes: '40MiB', memoryBytes: 0 } } };
          return { cacheDir: `${mounted.path}/cache`, config: { cache: { minFree: 0, memoryBytes: 0 } } };
        },
      },
    );
  });
  after(async () => {
    await crowd?.[Symbol.asyncDispose]();
    await disk?.[Symbol.asyncDispose]();
  });

  it('clocks that are hours apart: all read as one, and give to each other', async (t) => {
    const blob = crowd.blob('clocks');
    const startedAt = await Promise.all(
      [AHEAD, BEHIND].map(async (index) => Date.parse((await crowd.node(index).status()).startedAt)),
    );
    assert.ok((startedAt[0] ?? 0) - (startedAt[1] ?? 0) > HOUR_MS, 'their clocks are off');
    const had = await Promise.all(crowd.nodes.map(exchanged));
    crowd.assertRight(blob, await crowd.readAll(blob));
    await crowd.assertCost(t, blob, 4);
    for (const index of [AHEAD, BEHIND])
      assert.ok((await exchanged(crowd.node(index))) > (had[index] ?? 0), 'it had no part in it');
  });

  it('a holder that evicts what others are fetching from it', async (t) => {
    const [evicted, evicting] = [crowd.blob('evicted'), crowd.blob('evicting')];
    const small = crowd.node(SMALL);
    crowd.assertRight(evicted, [await crowd.read(small, evicted)]);
    const [own, others] = await Promise.all([
      crowd.read(small, evicting),
      crowd.readAll(evicted, [crowd.node(AHEAD), crowd.node(BEHIND)]),
    ]);
    crowd.assertRight(evicting, [own]);
    crowd.assertRight(evicted, others);
    // What the holder has lost is read a second time, and no third.
    await crowd.assertCost(t, evicted, evicted.size / MIB + 6);
    await crowd.assertCost(t, evicting, 6);
  });

  it('a member whose disk is full reads and holds nobody up, though it can keep and give nothing', async (t) => {
    const blob = crowd.blob('full');
    disk?.fill();
    crowd.assertRight(blob, await crowd.readAll(blob));
    await crowd.assertCost(t, blob, blob.size / MIB + 6);
    assert.equal(await crowd.node(FULL).isHealthy(), true);
  });
});
