import { execFile } from 'node:child_process';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { NodeProcess } from '../demo/node-process.ts';
import { OriginProcess } from '../support/origin-process.ts';
import { TempFolder } from '../support/temp-folder.ts';
import { cpuSeconds, curlSeconds, fetchRange, median, peakMiB, show } from './measure.ts';
import { startNginx } from './nginx.ts';

const MIB = 1 << 20;
const WARM_UP_ROUNDS = 10;
/** Between cold ranges: else the rest of the pieces of one is still coming in while the next is timed. */
const PAUSE_MS = 25;
/** What users run; the sources need more memory for their types. */
const BUILT = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url));
const USAGE = `node test/bench/main.ts [cold] [first-byte] [warm] [memory]   (default: all)
Ratios against a rival in the same run: rounds are interleaved, medians shown with (least–most).`;

interface Stage {
  readonly folder: TempFolder;
  readonly signal: AbortSignal;
}

const BENCHES: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  cold,
  'first-byte': firstByte,
  warm,
  memory,
};

const names = process.argv.slice(2);
if (names.some((name) => !(name in BENCHES))) {
  console.error(USAGE);
  process.exit(2);
}
await using folder = await TempFolder.make();
for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
  console.log(`\n== ${name}`);
  await BENCHES[name]?.({ folder, signal: AbortSignal.timeout(240_000) });
}

/** Whole cold blob against a direct download, from an origin of 100 MB/s; and unshaped against nginx with slices. */
async function cold({ folder, signal }: Stage): Promise<void> {
  const size = 192 * MIB;
  const rounds = 3;
  const blobs = Array.from({ length: rounds }, (_, i) => ({ size, seed: i + 1 }));
  const shaped = await OriginProcess.start(
    { bytesPerSecond: 100e6, repositories: { 'b/r': { blobs } } },
    60_000,
  );
  const free = await OriginProcess.start({ repositories: { 'b/r': { blobs } } }, 60_000);
  const node = await NodeProcess.start(join(folder.path, 'cold'), shaped.host, signal, BUILT);
  const fast = await NodeProcess.start(join(folder.path, 'cold-fast'), free.host, signal, BUILT);
  const nginx = await startNginx(join(folder.path, 'nginx-cold'), free.url, '4m');
  const direct: number[] = [];
  const through: number[] = [];
  const ours: number[] = [];
  const theirs: number[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) {
      const path = blobPath(shaped, round);
      direct.push(await curlSeconds(`${shaped.url}${path}`));
      through.push(await curlSeconds(`${node.url}${path}`));
      theirs.push(await curlSeconds(`${nginx.url}${path}`));
      ours.push(await curlSeconds(`${fast.url}${path}`));
    }
  } finally {
    await Promise.all([node.stop(), fast.stop(), nginx.stop(), shaped.close(), free.close()]);
  }
  console.log(
    `shaped 100 MB/s, 192 MiB: direct ${show(direct)} s, damselfly ${show(through)} s: ratio ${(median(through) / median(direct)).toFixed(3)}`,
  );
  console.log(
    `unshaped, 192 MiB: nginx slice 4m ${show(theirs)} s, damselfly ${show(ours)} s: ratio ${(median(ours) / median(theirs)).toFixed(2)}`,
  );
}

/** Cold 1 MiB ranges at unaligned offsets, one client with pauses, against direct; and what a cold 128 KiB range costs the origin. */
async function firstByte({ folder, signal }: Stage): Promise<void> {
  const origin = await OriginProcess.start(
    { repositories: { 'b/r': { blobs: [{ size: 1024 * MIB, seed: 9 }] } } },
    60_000,
  );
  const node = await NodeProcess.start(join(folder.path, 'first-byte'), origin.host, signal, BUILT);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const path = blobPath(origin, 0);
  const direct: number[] = [];
  const through: number[] = [];
  try {
    await fetchRange(`${node.url}${path}`, 0, 128 * 1024, agent);
    const small = await origin.bytesSent();
    console.log(`one cold 128 KiB range cost the origin ${(small / MIB).toFixed(2)} MiB`);
    for (let i = 1; i <= 100; i += 1) {
      const start = i * 9 * MIB + 345_678;
      direct.push(await fetchRange(`${origin.url}${path}`, start, MIB, agent));
      await sleep(PAUSE_MS);
      through.push(await fetchRange(`${node.url}${path}`, start, MIB, agent));
      await sleep(PAUSE_MS);
    }
  } finally {
    agent.destroy();
    await Promise.all([node.stop(), origin.close()]);
  }
  console.log(
    `first byte of a cold 1 MiB range: direct ${show(direct, 2)} ms, damselfly ${show(through, 2)} ms: ${(median(through) - median(direct)).toFixed(2)} ms more`,
  );
}

/** CPU of warm random 1 MiB ranges against nginx proxy_cache with slice 1m. */
async function warm({ folder, signal }: Stage): Promise<void> {
  const size = 256 * MIB;
  const origin = await OriginProcess.start(
    { repositories: { 'b/r': { blobs: [{ size, seed: 5 }] } } },
    60_000,
  );
  const node = await NodeProcess.start(join(folder.path, 'warm'), origin.host, signal, BUILT);
  const nginx = await startNginx(join(folder.path, 'nginx-warm'), origin.url, '1m');
  const path = blobPath(origin, 0);
  const rivals = [
    { url: `${node.url}${path}`, pid: node.pid, ms: [] as number[] },
    { url: `${nginx.url}${path}`, pid: nginx.pid, ms: [] as number[] },
  ];
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  try {
    for (const { url } of rivals) for (let i = 0; i < 2; i += 1) await curlSeconds(url);
    // What was just written is flushed first, and the first rounds warm up: code is compiled, pieces are checked.
    await promisify(execFile)('sync');
    for (let round = -WARM_UP_ROUNDS; round < 5; round += 1) {
      for (const { url, pid, ms } of rivals) {
        const requests = 800;
        const before = cpuSeconds(pid);
        const next = Array.from(
          { length: requests },
          (_, i) => ((i * 7919 + (round + WARM_UP_ROUNDS) * 104_729) % 254) * MIB + ((i * 4099) % MIB),
        );
        const work = async (): Promise<void> => {
          for (let start = next.pop(); start !== undefined; start = next.pop())
            await fetchRange(url, start, MIB, agent);
        };
        await Promise.all([work(), work(), work(), work()]);
        if (round >= 0) ms.push(((cpuSeconds(pid) - before) / requests) * 1000);
      }
    }
  } finally {
    agent.destroy();
    await Promise.all([node.stop(), nginx.stop(), origin.close()]);
  }
  const [ours, theirs] = rivals.map(({ ms }) => ms);
  console.log(
    `CPU per warm 1 MiB range: nginx slice 1m ${show(theirs ?? [])} ms, damselfly ${show(ours ?? [])} ms: ratio ${(median(ours ?? []) / median(theirs ?? [])).toFixed(2)}`,
  );
}

/** The most memory while 1 GiB streams through, cold and then warm. */
async function memory({ folder, signal }: Stage): Promise<void> {
  const origin = await OriginProcess.start(
    { repositories: { 'b/r': { blobs: [{ size: 1024 * MIB, seed: 7 }] } } },
    60_000,
  );
  const node = await NodeProcess.start(join(folder.path, 'memory'), origin.host, signal, BUILT);
  try {
    const idle = peakMiB(node.pid);
    await curlSeconds(`${node.url}${blobPath(origin, 0)}`);
    const afterCold = peakMiB(node.pid);
    await curlSeconds(`${node.url}${blobPath(origin, 0)}`);
    console.log(
      `peak RSS: idle ${idle.toFixed(0)} MiB, 1 GiB cold ${afterCold.toFixed(0)} MiB, and warm ${peakMiB(node.pid).toFixed(0)} MiB`,
    );
  } finally {
    await Promise.all([node.stop(), origin.close()]);
  }
}

function blobPath(origin: OriginProcess, index: number): string {
  const blob = origin.repositories['b/r']?.blobs[index];
  if (blob === undefined) throw new Error(`the origin has no blob ${index}`);
  return blob.path;
}
