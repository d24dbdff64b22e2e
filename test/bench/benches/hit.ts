import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { downloadTo } from '../download.ts';
import { type HitLoad, measureHits } from '../hits.ts';
import { blobOf, REPOSITORY, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { DockerRegistry } from '../rivals/docker-registry.ts';
import { Nginx } from '../rivals/nginx.ts';
import { type Rival, startRivals } from '../rivals/rival.ts';
import { type Bench, MIB, MINUTE_MS } from '../stage.ts';

/** Warm reads: a file server, a slicing cache and a registry beside Damselfly, all with the same blob. */
export const hit: Bench = {
  what: 'warm: a whole blob, 1 MiB ranges by 1, 4 and 16 clients, 64 KiB ranges; against nginx and docker-registry',
  deadlineMs: 20 * MINUTE_MS,
  run: async (stage) => {
    const { quick, scope } = stage;
    const origin = await startOrigin(stage, { count: 1, size: (quick ? 64 : 256) * MIB });
    const blob = blobOf(origin, 0);
    const root = await scope.folder('static');
    const file = join(root, blob.path);
    await mkdir(dirname(file), { recursive: true });
    await downloadTo(`${origin.url}${blob.path}`, file, stage.signal);
    const blobs = [{ repository: REPOSITORY, digest: blob.digest, file }];
    const rivals = [
      ...(await startRivals<Rival>(stage, [
        {
          name: 'nginx static',
          needs: 'nginx',
          start: () => Nginx.start(scope, { kind: 'static', root }),
        },
        {
          name: 'nginx slice 1m',
          needs: 'nginx',
          start: () => Nginx.start(scope, { kind: 'cache', upstream: origin.url, slice: '1m' }),
        },
        {
          name: 'docker-registry',
          needs: 'docker-registry',
          start: () => DockerRegistry.start(scope, { blobs }),
        },
      ])),
      await Damselfly.start(stage, origin.host),
    ];
    await measureHits(stage, {
      rivals,
      blob,
      loads: loads(quick),
      rounds: stage.rounds ?? (quick ? 1 : 5),
      warmUpSeconds: quick ? 0.5 : 2,
    });
  },
};

function loads(quick: boolean): HitLoad[] {
  const until = { seconds: quick ? 0.5 : 2 };
  return [
    {
      name: 'whole blob, one stream',
      job: { connections: 1, until },
      measures: ['MiB/s', 'CPU s/GiB'],
    },
    ...[1, 4, 16].map(
      (connections): HitLoad => ({
        name: `1 MiB ranges × ${connections}`,
        job: { connections, rangeBytes: MIB, until },
        measures: ['requests/s', 'p50 ms', 'p99 ms', 'CPU s/GiB'],
      }),
    ),
    ...[1, 16].map(
      (connections): HitLoad => ({
        name: `64 KiB ranges × ${connections}`,
        job: { connections, rangeBytes: MIB / 16, until },
        measures: ['requests/s', 'p50 ms', 'p99 ms', 'CPU s/GiB'],
      }),
    ),
  ];
}
