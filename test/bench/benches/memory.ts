import { readVerified } from '../client/load.ts';
import { peakMiB } from '../measure.ts';
import { blobOf, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { type Bench, MIB, MINUTE_MS } from '../stage.ts';

/** The most memory while 1 GiB streams through, cold and then warm. */
export const memory: Bench = {
  what: 'peak RSS while 1 GiB streams through, cold and warm',
  deadlineMs: 4 * MINUTE_MS,
  run: async (stage) => {
    const rounds = stage.rounds ?? 1;
    const size = (stage.quick ? 128 : 1024) * MIB;
    const origin = await startOrigin(stage, { count: 1, size });
    for (let round = 0; round < rounds; round += 1) {
      const node = await Damselfly.start(stage, origin.host);
      const blob = blobOf(origin, 0);
      const add = (when: string): void =>
        stage.record.add({
          ...{ case: `${size / MIB} MiB through, ${when}`, measure: 'MiB of RSS at most' },
          ...{ rival: node.name, round, value: peakMiB(node.pid) },
        });
      add('idle');
      for (const when of ['cold', 'warm']) {
        await readVerified(`${node.url}${blob.path}`, blob, stage.signal);
        add(when);
      }
      await node.stop();
    }
  },
};
