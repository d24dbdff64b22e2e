import type { OriginProcess } from '../../support/origin-process.ts';
import type { LoadJob } from '../client/job.ts';
import { load } from '../client/load.ts';
import { cpuSeconds } from '../measure.ts';
import { blobOf, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { DockerRegistry } from '../rivals/docker-registry.ts';
import { Nginx } from '../rivals/nginx.ts';
import { type Rival, startRivals } from '../rivals/rival.ts';
import { type Bench, GIB, inTurn, MIB, MINUTE_MS, type Stage } from '../stage.ts';

const CLIENTS = 16;

interface ColdCase {
  readonly name: string;
  readonly blobBytes: number;
  readonly job: Pick<LoadJob, 'connections' | 'rangeBytes' | 'until'>;
  /** docker-registry answers a cold range with the whole blob and status 200. */
  readonly isRanged: boolean;
}

/** Cold reads through everything that can cache a registry; each round has blobs that nobody has seen. */
export const miss: Bench = {
  what: 'cold: a whole blob, random ranges, 16 clients of one blob, with what the origin sent; against direct and caches',
  deadlineMs: 15 * MINUTE_MS,
  run: async (stage) => {
    const rounds = stage.rounds ?? (stage.quick ? 1 : 5);
    for (const one of cases(stage.quick)) await runCase(stage, one, rounds);
  },
};

function cases(quick: boolean): ColdCase[] {
  const blobBytes = (quick ? 32 : 256) * MIB;
  return [
    {
      name: `whole blob of ${blobBytes / MIB} MiB`,
      blobBytes,
      job: { connections: 1, until: { requests: 1 } },
      isRanged: false,
    },
    {
      name: `${CLIENTS} clients at once, the same blob of ${blobBytes / MIB} MiB`,
      blobBytes,
      job: { connections: CLIENTS, until: { requests: CLIENTS } },
      isRanged: false,
    },
    {
      name: 'random 1 MiB ranges × 4',
      blobBytes: blobBytes * 4,
      // An eighth of the blob, so that few ranges meet.
      job: { connections: 4, rangeBytes: MIB, until: { requests: blobBytes / MIB / 2 } },
      isRanged: true,
    },
  ];
}

async function runCase(stage: Stage, one: ColdCase, rounds: number): Promise<void> {
  const { blobBytes, isRanged, job, name } = one;
  const origin = await startOrigin(stage, { count: rounds + 1, size: blobBytes });
  const rivals = await startAll(stage, origin, isRanged);
  // The first round only warms up: code is compiled, connections are open.
  for (let round = -1; round < rounds; round += 1) {
    const { path } = blobOf(origin, round + 1);
    for (const rival of inTurn(rivals, round + 1)) {
      stage.signal.throwIfAborted();
      const sentBefore = await origin.bytesSent();
      const cpuBefore = cpuSeconds(rival.pid);
      const result = await load(
        { urls: [`${rival.url}${path}`], blobBytes, seed: round + 2, ...job },
        stage.signal,
      );
      // What a cache goes on reading for itself counts as well.
      await origin.idle();
      if (round < 0) continue;
      const add = (measure: string, value: number): void =>
        stage.record.add({ case: name, measure, rival: rival.name, round, value });
      add('s', result.seconds);
      if (isRanged) add('p50 ms', result.latencyMs.p50);
      if (isRanged) add('p99 ms', result.latencyMs.p99);
      const wanted = isRanged ? result.bytes : blobBytes;
      add(
        isRanged ? 'origin bytes per byte asked for' : 'origin bytes per byte of the blob',
        ((await origin.bytesSent()) - sentBefore) / wanted,
      );
      if (rival.pid !== origin.pid)
        add('CPU s/GiB sent', (cpuSeconds(rival.pid) - cpuBefore) / (result.bytes / GIB));
    }
  }
  for (const rival of rivals) if ('stop' in rival) await (rival as { stop(): Promise<void> }).stop();
  await origin.close();
}

async function startAll(stage: Stage, origin: OriginProcess, isRanged: boolean): Promise<Rival[]> {
  const { scope } = stage;
  if (isRanged) {
    stage.record.note(
      'left out of the ranges: docker-registry proxy (answers a cold range with 200 and the whole blob)',
    );
  }
  const caches = (['1m', '4m'] as const).map((slice) => ({
    name: `nginx slice ${slice}`,
    needs: 'nginx',
    start: () => Nginx.start(scope, { kind: 'cache', upstream: origin.url, slice }),
  }));
  const registry = {
    name: 'docker-registry proxy',
    needs: 'docker-registry',
    start: () => DockerRegistry.start(scope, { upstream: origin.url }),
  };
  return [
    { name: 'direct', url: origin.url, pid: origin.pid },
    ...(await startRivals<Rival>(stage, isRanged ? caches : [...caches, registry])),
    await Damselfly.start(stage, origin.host),
  ];
}
