import { measureHits } from '../hits.ts';
import { blobOf, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { Nginx } from '../rivals/nginx.ts';
import { type Rival, startRivals } from '../rivals/rival.ts';
import { type Bench, MIB, MINUTE_MS } from '../stage.ts';

/** CPU of warm random 1 MiB ranges against nginx proxy_cache with slice 1m; `hit` is the long form. */
export const warm: Bench = {
  what: 'CPU time of the server per warm random 1 MiB range; against nginx',
  deadlineMs: 4 * MINUTE_MS,
  run: async (stage) => {
    const origin = await startOrigin(stage, { count: 1, size: (stage.quick ? 64 : 256) * MIB });
    const rivals = [
      ...(await startRivals<Rival>(stage, [
        {
          name: 'nginx slice 1m',
          needs: 'nginx',
          start: () => Nginx.start(stage.scope, { kind: 'cache', upstream: origin.url, slice: '1m' }),
        },
      ])),
      await Damselfly.start(stage, origin.host),
    ];
    await measureHits(stage, {
      rivals,
      blob: blobOf(origin, 0),
      loads: [
        {
          name: '1 MiB ranges × 4',
          job: { connections: 4, rangeBytes: MIB, until: { requests: stage.quick ? 400 : 3000 } },
          measures: ['CPU ms/request'],
        },
      ],
      rounds: stage.rounds ?? (stage.quick ? 1 : 5),
      warmUpSeconds: stage.quick ? 1 : 4,
    });
  },
};
