import { load } from '../client/load.ts';
import { blobOf, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { Nginx } from '../rivals/nginx.ts';
import { type Rival, startRivals } from '../rivals/rival.ts';
import { type Bench, inTurn, MIB, MINUTE_MS, type Stage } from '../stage.ts';

/** Whole cold blobs: from an origin of 100 MB/s against a direct download; unshaped against nginx with slices. */
export const cold: Bench = {
  what: 'a whole cold blob of 192 MiB, from an origin of 100 MB/s and unshaped; against direct and nginx',
  deadlineMs: 4 * MINUTE_MS,
  run: async (stage) => {
    await part(stage, { name: '100 MB/s', bytesPerSecond: 100e6 });
    await part(stage, { name: 'unshaped' });
  },
};

async function part(
  stage: Stage,
  { name, ...shape }: { name: string; bytesPerSecond?: number },
): Promise<void> {
  const size = (stage.quick ? 32 : 192) * MIB;
  const rounds = stage.rounds ?? (stage.quick ? 1 : 3);
  const origin = await startOrigin(stage, { count: rounds, size }, shape);
  const rivals: { readonly name: string; readonly url: string }[] = [
    { name: 'direct', url: origin.url },
    ...(await startRivals<Rival>(stage, [
      {
        name: 'nginx slice 4m',
        needs: 'nginx',
        start: () => Nginx.start(stage.scope, { kind: 'cache', upstream: origin.url, slice: '4m' }),
      },
    ])),
    await Damselfly.start(stage, origin.host),
  ];
  for (let round = 0; round < rounds; round += 1) {
    const { path } = blobOf(origin, round);
    for (const rival of inTurn(rivals, round)) {
      const job = {
        urls: [`${rival.url}${path}`],
        blobBytes: size,
        connections: 1,
        until: { requests: 1 },
        seed: 0,
      };
      const { latencyMs } = await load(job, stage.signal);
      stage.record.add({
        ...{ case: `whole cold blob, ${size / MIB} MiB, ${name}`, measure: 's' },
        ...{ rival: rival.name, round, value: latencyMs.p50 / 1000 },
      });
    }
  }
}
