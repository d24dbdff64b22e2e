import { setTimeout as sleep } from 'node:timers/promises';
import type { OriginProcess } from '../../support/origin-process.ts';
import { Random } from '../../support/random.ts';
import { Connection } from '../client/connection.ts';
import { readVerified } from '../client/load.ts';
import { blobOf, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { DockerRegistry } from '../rivals/docker-registry.ts';
import { Nginx } from '../rivals/nginx.ts';
import { type RestartableRival, startRivals } from '../rivals/rival.ts';
import { type Bench, GIB, inTurn, MIB, MINUTE_MS, type Stage } from '../stage.ts';

const BLOB_BYTES = GIB;
const DEFAULT_CACHE_GIB = 8;
const POLL_MS = 1;
const FIRST_ANSWER_TIMEOUT_MS = 60_000;
/** Ranges read after each start, spread over all blobs, to see what of the cache is still there. */
const SAMPLES = 400;

/** From the start of the process to the first warm range, with a full cache, after SIGTERM and after kill -9. */
export const restart: Bench = {
  what: 'start to the first warm 1 MiB range, after SIGTERM and kill -9, and what of the cache is left; against caches',
  deadlineMs: 20 * MINUTE_MS,
  run: async (stage) => {
    const rounds = stage.rounds ?? (stage.quick ? 1 : 5);
    const count = stage.quick ? 1 : (stage.cacheGiB ?? DEFAULT_CACHE_GIB);
    const size = stage.quick ? BLOB_BYTES / 8 : BLOB_BYTES;
    const origin = await startOrigin(stage, { count, size });
    const rivals = await startRivals<RestartableRival>(stage, [
      {
        name: 'nginx slice 1m',
        needs: 'nginx',
        start: () => Nginx.start(stage.scope, { kind: 'cache', upstream: origin.url, slice: '1m' }),
      },
      {
        name: 'docker-registry proxy',
        needs: 'docker-registry',
        start: () => DockerRegistry.start(stage.scope, { upstream: origin.url }),
      },
    ]);
    rivals.push(await Damselfly.start(stage, origin.host));
    for (const rival of rivals) {
      for (let i = 0; i < count; i += 1) {
        const blob = blobOf(origin, i);
        await readVerified(`${rival.url}${blob.path}`, blob, stage.signal);
      }
    }
    await origin.idle();
    // Twice for docker-registry: it stores a blob only after it has sent it.
    for (const rival of rivals)
      await readVerified(`${rival.url}${blobOf(origin, 0).path}`, blobOf(origin, 0), stage.signal);
    const about = `${(count * size) / GIB} GiB`;
    for (let round = 0; round < rounds; round += 1) {
      for (const how of ['SIGTERM', 'kill -9'] as const) {
        for (const rival of inTurn(rivals, round)) {
          await (how === 'SIGTERM' ? rival.stop() : rival.kill());
          const name = `${about} in the cache, after ${how}`;
          await restartOnce(stage, { rival, name, round, origin, count, size });
        }
      }
    }
  },
};

interface Restart {
  readonly rival: RestartableRival;
  readonly name: string;
  readonly round: number;
  readonly origin: OriginProcess;
  readonly count: number;
  readonly size: number;
}

async function restartOnce(stage: Stage, restart: Restart): Promise<void> {
  const { count, name, origin, rival, round, size } = restart;
  const sentBefore = await origin.bytesSent();
  const begunMs = performance.now();
  // A rival whose port is known is asked from the first moment; waiting for "ready" would add its polling.
  const [firstMs] = await Promise.all([firstRange(stage, restart, begunMs), rival.start()]);
  const connection = new Connection(() => undefined);
  const random = new Random(`restart ${round}`);
  try {
    for (let i = 0; i < SAMPLES; i += 1) {
      stage.signal.throwIfAborted();
      const url = new URL(`${rival.url}${blobOf(origin, random.integer(0, count)).path}`);
      const start = random.integer(0, size / MIB) * MIB;
      await connection.get({ url, range: [start, start + MIB], bytes: MIB });
    }
  } finally {
    connection.close();
  }
  await origin.idle();
  const fromOrigin = (await origin.bytesSent()) - sentBefore;
  const figure = { case: name, rival: rival.name, round };
  stage.record.add({ ...figure, measure: 'ms to the first warm 1 MiB', value: firstMs });
  const value = 100 * Math.max(0, 1 - fromOrigin / ((SAMPLES + 1) * MIB));
  stage.record.add({ ...figure, measure: '% of the bytes without the origin', value });
}

/** Asks again and again until the first MiB of the first blob is here. @returns milliseconds since `begunMs`. */
async function firstRange(stage: Stage, { rival, origin }: Restart, begunMs: number): Promise<number> {
  for (;;) {
    stage.signal.throwIfAborted();
    const connection = new Connection(() => undefined);
    try {
      const url = new URL(`${rival.url}${blobOf(origin, 0).path}`);
      await connection.get({ url, range: [0, MIB], bytes: MIB });
      return performance.now() - begunMs;
    } catch (cause) {
      if (performance.now() - begunMs > FIRST_ANSWER_TIMEOUT_MS)
        throw new Error(`${rival.name} did not come back`, { cause });
    } finally {
      connection.close();
    }
    await sleep(POLL_MS);
  }
}
