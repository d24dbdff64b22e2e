import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { LoadJob } from './client/job.ts';
import { load, readVerified } from './client/load.ts';
import { cpuSeconds } from './measure.ts';
import type { BlobFact } from './origin.ts';
import type { Rival } from './rivals/rival.ts';
import { GIB, inTurn, MIB, type Stage } from './stage.ts';

/** Past this share of a core the load generator may be what is measured. */
const MAX_CLIENT_LOAD = 0.85;

/** One kind of load on warm servers. */
export interface HitLoad {
  readonly name: string;
  readonly job: Pick<LoadJob, 'connections' | 'until' | 'rangeBytes'>;
  /** The measures that are kept of it. */
  readonly measures: readonly HitMeasure[];
}

export type HitMeasure = 'MiB/s' | 'requests/s' | 'p50 ms' | 'p99 ms' | 'CPU s/GiB' | 'CPU ms/request';

/** Loads every rival in turn, round by round, after each has the blob and its code is compiled. */
export async function measureHits(
  stage: Stage,
  options: {
    readonly rivals: readonly Rival[];
    readonly blob: BlobFact;
    readonly loads: readonly HitLoad[];
    readonly rounds: number;
    readonly warmUpSeconds: number;
  },
): Promise<void> {
  const { blob, loads, rivals, rounds, warmUpSeconds } = options;
  const urlOf = (rival: Rival): string => `${rival.url}${blob.path}`;
  for (const rival of rivals) {
    // The first fills the cache, the second finds it: both must be the blob.
    for (let i = 0; i < 2; i += 1) await readVerified(urlOf(rival), blob, stage.signal);
  }
  // What was just written is flushed first; then code is compiled, pieces are checked, files are open.
  await promisify(execFile)('sync');
  for (let round = -1; round < rounds; round += 1) {
    for (const { name, job, measures } of loads) {
      for (const rival of inTurn(rivals, round + 1)) {
        stage.signal.throwIfAborted();
        const until = round < 0 && warmUpSeconds > 0 ? { seconds: warmUpSeconds } : job.until;
        const cpuBefore = cpuSeconds(rival.pid);
        const result = await load(
          { urls: [urlOf(rival)], blobBytes: blob.size, seed: round + 2, ...job, until },
          stage.signal,
        );
        if (round < 0) continue;
        const cpu = cpuSeconds(rival.pid) - cpuBefore;
        const values: Readonly<Record<HitMeasure, number>> = {
          'MiB/s': result.bytes / MIB / result.seconds,
          'requests/s': result.requests / result.seconds,
          'p50 ms': result.latencyMs.p50,
          'p99 ms': result.latencyMs.p99,
          'CPU s/GiB': cpu / (result.bytes / GIB),
          'CPU ms/request': (cpu / result.requests) * 1000,
        };
        const figure = { case: name, rival: rival.name, round };
        for (const measure of measures) stage.record.add({ ...figure, measure, value: values[measure] });
        const share = result.clientCpuSeconds / result.seconds;
        stage.record.note(`${name}: load by ${result.client}`);
        if (share > MAX_CLIENT_LOAD) {
          stage.record.note(
            `${name}: with ${rival.name} the client was the bottleneck (over ${MAX_CLIENT_LOAD} of a core)`,
          );
        }
      }
    }
  }
}
