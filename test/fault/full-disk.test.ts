import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startNode, type TestNode } from '../integration/support/node.ts';
import { listing } from '../integration/support/setup.ts';
import { allocatedIn } from '../store/support.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { startOrigin, type TestOrigin } from '../support/origin.ts';
import { addBlob, costOf, MIB, metric, readThrough, type SeededBlob, STEPS } from './support/reads.ts';
import { cannotMount, SmallDisk } from './support/small-disk.ts';

const ONE_READ = 1.05;
/**
 * What was read ahead may be evicted unread where the disk has not even two segments; so may what was fetched for a reader
 * who is more than eight pieces behind, on a machine that is busy.
 */
const TIGHT_DISK = 1.3;
/** Probes come every few seconds, a start that failed is tried again every 15 s. */
const RECOVERY_MS = 45_000;

const degraded = (node: TestNode): Promise<number> =>
  metric(node.addresses.metrics[0], 'damselfly_store_degraded');

function nodeOn(disk: SmallDisk, origin: TestOrigin, ...set: string[]): Promise<TestNode> {
  return startNode(disk.path, [...listing(origin), ...set]);
}

async function assertDegraded(node: TestNode, fault: string): Promise<void> {
  await eventually(async () => (await degraded(node)) === 1, { what: 'the metric says so' });
  const status = (await httpGet(`http://${node.addresses.admin[0]}/api/v1/status`)).body.toString();
  assert.match(status, new RegExp(`"degraded":"(${fault})"`));
  assert.equal((await httpGet(`${node.url}/healthy`)).status, 200);
}

/** Reads until all of it is kept again: a further read costs the origin nothing. */
async function assertRecovers(node: TestNode, origin: TestOrigin, blob: SeededBlob): Promise<void> {
  await eventually(
    async () => {
      const cost = await costOf(origin, blob, () => readThrough(node.url, blob, MIB));
      return cost === 0 && (await degraded(node)) === 0;
    },
    { timeoutMs: RECOVERY_MS, everyMs: 500, what: 'the disk is used again' },
  );
}

/** On a node that was started anew, with no memory tier: it is on the disk, and the index says so. */
async function assertKept(disk: SmallDisk, origin: TestOrigin, ...blobs: SeededBlob[]): Promise<void> {
  await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
  for (const blob of blobs) {
    const cost = await costOf(origin, blob, () => readThrough(node.url, blob, MIB));
    assert.equal(cost, 0, `${blob.seed}: ${cost} times read again`);
  }
}

describe('a disk smaller than what is read', { skip: cannotMount }, () => {
  for (const [by, step] of STEPS) {
    it(`costs the origin about one read by ${by}, again and again`, async () => {
      await using disk = await SmallDisk.mount('size=24m');
      await using origin = await startOrigin();
      await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
      const blob = addBlob(origin, 'large', 44 * MIB + 5);
      for (const turn of [1, 2]) {
        const cost = await costOf(origin, blob, () => readThrough(node.url, blob, step));
        assert.ok(cost <= TIGHT_DISK, `${cost} times in turn ${turn}`);
      }
      assert.ok((await metric(node.addresses.metrics[0], 'damselfly_evicted_segments_total')) > 0);
      assert.ok(allocatedIn(disk.path) > MIB, 'the disk is not used');
    });
  }
});

describe('a disk that others have filled', { skip: cannotMount }, () => {
  for (const [by, step] of STEPS) {
    it(`keeps nothing, and a reader by ${by} costs the origin one read`, async () => {
      await using disk = await SmallDisk.mount('size=64m');
      await using origin = await startOrigin();
      await using node = await nodeOn(disk, origin, 'cache.memoryBytes=16MiB');
      disk.fill();
      const blob = addBlob(origin, 'no room', 24 * MIB + 5);
      const cost = await costOf(origin, blob, () => readThrough(node.url, blob, step));
      assert.ok(cost <= ONE_READ, `${cost} times`);
      await assertDegraded(node, 'disk-full');
    });
  }
});

// Together: nearly all of it is waiting for the next probe of a disk at fault.
describe('a disk that can be used again', { skip: cannotMount, concurrency: 4 }, () => {
  it('full, and filled again after each eviction, so that the index cannot be written either: kept and told to the index once there is room', async () => {
    await using disk = await SmallDisk.mount('size=40m');
    await using origin = await startOrigin();
    const [before, during, after] = ['before', 'during', 'after'].map((seed) =>
      addBlob(origin, seed, 5 * MIB + 5),
    ) as [SeededBlob, SeededBlob, SeededBlob];
    {
      await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
      await readThrough(node.url, before);
      // Every blob is a few rows: far more than the log of the index has room for where it is.
      for (let n = 0; n < 60; n += 1) {
        disk.fill();
        await readThrough(node.url, addBlob(origin, `small ${n}`, 1000 + n));
      }
      await readThrough(node.url, during);
      await assertDegraded(node, 'disk-full');
      disk.empty();
      await assertRecovers(node, origin, during);
      await assertRecovers(node, origin, after);
    }
    await assertKept(disk, origin, during, after);
  });

  it('full before the node starts: it serves, and keeps what it reads once the disk has grown', async () => {
    await using disk = await SmallDisk.mount('size=2m');
    await using origin = await startOrigin();
    const blob = addBlob(origin, 'from the start', 5 * MIB + 5);
    {
      disk.fill();
      await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
      await readThrough(node.url, blob);
      await assertDegraded(node, 'disk-full');
      await disk.remount('size=40m');
      await assertRecovers(node, origin, blob);
    }
    await assertKept(disk, origin, blob);
  });

  it('without inodes: as good as a full one, and used again once there are some', async () => {
    await using disk = await SmallDisk.mount('size=64m,nr_inodes=64');
    await using origin = await startOrigin();
    const blob = addBlob(origin, 'no inodes', 20 * MIB + 5);
    {
      await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
      disk.fillInodes();
      const cost = await costOf(origin, blob, () => readThrough(node.url, blob));
      assert.ok(cost >= 1, 'something was kept');
      await assertDegraded(node, 'disk-full');
      disk.empty();
      await assertRecovers(node, origin, blob);
    }
    await assertKept(disk, origin, blob);
  });

  it('read-only from the start: served all the same, and what was cached is there again once it is writable', async () => {
    await using disk = await SmallDisk.mount('size=40m');
    await using origin = await startOrigin();
    const blob = addBlob(origin, 'cached before', 5 * MIB + 5);
    {
      await using node = await nodeOn(disk, origin);
      await readThrough(node.url, blob);
    }
    await disk.remount('ro');
    await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
    await readThrough(node.url, blob);
    await readThrough(node.url, blob, MIB);
    await assertDegraded(node, 'read-only|disk-error');
    await disk.remount('rw');
    await assertRecovers(node, origin, blob);
  });

  it('without inodes, and something is cached: room is made by evicting', async () => {
    await using disk = await SmallDisk.mount('size=64m,nr_inodes=64');
    await using origin = await startOrigin();
    await using node = await nodeOn(disk, origin, 'cache.memoryBytes=0');
    const [old, young] = ['old', 'young'].map((seed) => addBlob(origin, seed, 3 * MIB)) as [
      SeededBlob,
      SeededBlob,
    ];
    await readThrough(node.url, old);
    disk.fillInodes();
    await assertRecovers(node, origin, young);
    assert.ok((await costOf(origin, old, () => readThrough(node.url, old))) > 0, 'it is not evicted');
  });
});
