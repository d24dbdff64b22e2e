import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startNode } from '../integration/support/node.ts';
import { listing } from '../integration/support/setup.ts';
import { allocatedIn } from '../store/support.ts';
import { startOrigin } from '../support/origin.ts';
import { TempFolder } from '../support/temp-folder.ts';
import { addBlob, costOf, MIB, metric, readThrough, STEPS } from './support/reads.ts';

const ONE_READ = 1.05;
/** Without memory: some windows of read-ahead and pieces that were offered in vain, on a machine that is slow. */
const UNKEPT = 1.5;

interface Quota {
  readonly name: string;
  readonly maxBytes: string;
  /** What a reader may cost the origin, in sizes of the blob: by one request, 1 MiB, 64 KiB; without and with memory. */
  readonly bare: readonly [number, number, number];
  readonly withMemory: readonly [number, number, number];
}

/** Of this even the index alone takes more: nothing is kept. */
const TINY = 64 * 1024;

/**
 * A quota under two segments evicts what was read ahead before it is read. Where nothing can hold the piece in hand (no
 * memory, and a segment that may not be evicted for its own sake), a range costs its own bytes, and besides them: what
 * was read ahead when it was not known yet that it cannot be kept, and a whole piece every two seconds, which is offered
 * to the disk again.
 */
const QUOTAS: readonly Quota[] = [
  {
    name: 'than a piece',
    maxBytes: '512KiB',
    bare: [ONE_READ, 1.2, UNKEPT],
    withMemory: [ONE_READ, ONE_READ, ONE_READ],
  },
  {
    name: 'than a segment',
    maxBytes: '8MiB',
    bare: [ONE_READ, UNKEPT, UNKEPT],
    withMemory: [ONE_READ, ONE_READ, ONE_READ],
  },
  { name: 'than the blob', maxBytes: '20MiB', bare: [1.2, 1.4, 1.4], withMemory: [1.2, 1.4, 1.4] },
];

describe('a quota smaller', () => {
  for (const { name, maxBytes, bare, withMemory } of QUOTAS) {
    for (const [memoryBytes, bounds] of [
      ['0', bare],
      ['16MiB', withMemory],
    ] as const) {
      for (const [n, [by, step]] of STEPS.entries()) {
        it(`${name}, ${memoryBytes} of memory: right by ${by}, kept by du, and what it may cost`, async (t) => {
          await using folder = await TempFolder.make();
          await using origin = await startOrigin();
          const dir = folder.file('cache');
          const quota = Number.parseFloat(maxBytes) * (maxBytes.endsWith('KiB') ? 1024 : MIB);
          await using node = await startNode(dir, [
            ...listing(origin),
            `cache.maxBytes=${maxBytes}`,
            `cache.memoryBytes=${memoryBytes}`,
          ]);
          const blob = addBlob(origin, 'quota', 36 * MIB + 5);
          let mostBytes = 0;
          const watch = setInterval(() => {
            mostBytes = Math.max(mostBytes, allocatedIn(dir));
          }, 20);
          try {
            const cost = await costOf(origin, blob, () => readThrough(node.url, blob, step));
            t.diagnostic(`${cost.toFixed(3)} times the blob`);
            assert.ok(cost <= (bounds[n] ?? 0), `${cost} times the blob`);
          } finally {
            clearInterval(watch);
          }
          mostBytes = Math.max(mostBytes, allocatedIn(dir));
          t.diagnostic(`${mostBytes} of ${quota} bytes`);
          assert.ok(mostBytes > 0 && mostBytes <= quota, `${mostBytes} bytes of ${quota}`);
          assert.ok((await metric(node.addresses.metrics[0], 'damselfly_memory_cache_bytes')) <= 16 * MIB);
        });
      }
    }
  }

  it('than the index: nothing is kept, and everything is served', async () => {
    await using folder = await TempFolder.make();
    await using origin = await startOrigin();
    const set = [...listing(origin), `cache.maxBytes=${TINY}`, 'cache.memoryBytes=0'];
    await using node = await startNode(folder.file('cache'), set);
    const blob = addBlob(origin, 'tiny', 3 * MIB + 5);
    for (const [, step] of STEPS) await readThrough(node.url, blob, step);
    assert.ok(allocatedIn(folder.file('cache')) < MIB);
  });
});
