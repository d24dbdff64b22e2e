import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { it } from 'node:test';
import { NodeProcess } from '../demo/node-process.ts';
import { startNode } from '../integration/support/node.ts';
import { listing } from '../integration/support/setup.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { startOrigin } from '../support/origin.ts';
import { TempFolder } from '../support/temp-folder.ts';
import { makeLargeCache } from './support/large-cache.ts';
import { addBlob, MIB, metric, readRight, readThrough } from './support/reads.ts';

/** 100 GiB. */
const SEGMENTS = 6_400;
const BLOBS = 2_100;
const REAL = { seed: 'really here', size: 5 * MIB + 5 };
/** For a start on two busy cores; it takes one or two. */
const START_MS = 15_000;
/** The index does not say whose the blob is, so a little of it is compared with the origin's. */
const PROBE_BYTES = 64 * 1024;
const MAX_LAG_MS = 750;
const MAX_GROWTH_BYTES = 150 * MIB;

/** Resident bytes of a process. */
function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) * 1024;
}

it('a node starts on 100 GiB of index in bounded time and memory, and serves what it has', async (t) => {
  await using folder = await TempFolder.make();
  await using origin = await startOrigin();
  const blob = addBlob(origin, REAL.seed, REAL.size);
  const never = new AbortController().signal;
  const began = async (name: string): Promise<{ ms: number; rss: number }> => {
    const beganMs = performance.now();
    const node = await NodeProcess.start(folder.file(name), origin.host, never);
    try {
      assert.equal((await httpGet(`${node.url}/v2`)).status, 200);
      const answer = await readRight(node.url, blob, { start: MIB, end: 3 * MIB });
      const ms = performance.now() - beganMs;
      if (name === 'large') {
        assert.equal(answer.header('x-damselfly-source'), 'disk');
        assert.ok(origin.bytesSent() <= PROBE_BYTES, `${origin.bytesSent()} bytes`);
      }
      return { ms, rss: residentBytes(node.pid) };
    } finally {
      await node.stop();
    }
  };
  const empty = await began('empty');
  origin.reset();
  makeLargeCache(folder.file('large', 'cache'), { segments: SEGMENTS, blobs: BLOBS, real: REAL });
  const large = await began('large');
  t.diagnostic(`started and served in ${Math.round(large.ms)} ms, empty ${Math.round(empty.ms)} ms`);
  t.diagnostic(`${Math.round((large.rss - empty.rss) / MIB)} MiB more than the empty one`);
  assert.ok(large.ms < START_MS, `${large.ms} ms`);
  assert.ok(large.rss - empty.rss < MAX_GROWTH_BYTES, `${large.rss} bytes, ${empty.rss} when empty`);
});

it('the loop is not held while the index is taken over, and what it speaks of can be looked up, checked and evicted', async (t) => {
  await using folder = await TempFolder.make();
  await using origin = await startOrigin();
  const blob = addBlob(origin, REAL.seed, REAL.size);
  const dir = folder.file('cache');
  const made = makeLargeCache(dir, { segments: SEGMENTS, blobs: BLOBS, real: REAL });
  const lag = monitorEventLoopDelay({ resolution: 10 });
  lag.enable();
  // The files take a block each: 25 MiB, and the index some 7.
  await using node = await startNode(dir, [
    ...listing(origin),
    'cache.maxBytes=44MiB',
    'cache.memoryBytes=0',
  ]);
  // What held the loop last is noted when the probe's timer fires next.
  const { count } = lag;
  await eventually(() => lag.count > count);
  lag.disable();
  t.diagnostic(`the loop was held for ${Math.round(lag.max / 1e6)} ms at most`);
  assert.ok(lag.max / 1e6 < MAX_LAG_MS, `${lag.max / 1e6} ms`);

  const status = (await httpGet(`http://${node.addresses.admin[0]}/api/v1/status`)).json() as {
    cache: { blobs: number; usedBytes: number; degraded: string | null };
  };
  assert.deepEqual([status.cache.blobs, status.cache.degraded], [made.blobs, null]);
  await readThrough(node.url, blob, MIB);
  assert.ok(origin.bytesSent() <= PROBE_BYTES, `${origin.bytesSent()} bytes`);

  const files = (): number => readdirSync(join(dir, 'segments')).length;
  const before = files();
  assert.ok(before > SEGMENTS * 0.9, `${before} files after the start`);
  const fresh = addBlob(origin, 'fresh', 12 * MIB);
  await readThrough(node.url, fresh, MIB);
  await eventually(async () => {
    const evicted = await metric(node.addresses.metrics[0], 'damselfly_evicted_segments_total');
    return evicted > 100 && files() < before;
  });
  origin.reset();
  // The youngest are spared.
  await readThrough(node.url, fresh, MIB);
  await readThrough(node.url, blob, MIB);
  assert.equal(origin.bytesSent(), 0);
});
