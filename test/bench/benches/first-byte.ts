import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '../client/connection.ts';
import { blobOf, startOrigin } from '../origin.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { type Bench, MIB, MINUTE_MS } from '../stage.ts';

/** Between cold ranges: else the rest of the pieces of one is still coming in while the next is timed. */
const PAUSE_MS = 25;

/** Cold 1 MiB ranges at unaligned offsets, one client with pauses; and what a cold 128 KiB range costs the origin. */
export const firstByte: Bench = {
  what: 'first byte of cold 1 MiB ranges, one client that pauses; what a cold 128 KiB range costs; against direct',
  deadlineMs: 4 * MINUTE_MS,
  run: async (stage) => {
    const reads = stage.quick ? 20 : 100;
    const size = reads * 9 * MIB + 16 * MIB;
    const origin = await startOrigin(stage, { count: 1, size });
    const node = await Damselfly.start(stage, origin.host);
    const { path } = blobOf(origin, 0);
    const rivals = [
      { name: 'direct', url: new URL(`${origin.url}${path}`), connection: new Connection(() => undefined) },
      { name: node.name, url: new URL(`${node.url}${path}`), connection: new Connection(() => undefined) },
    ];
    stage.scope.defer(() => {
      for (const { connection } of rivals) connection.close();
    });
    for (const { connection, url, name } of rivals) {
      const before = await origin.bytesSent();
      await connection.get({ url, range: [0, 128 * 1024], bytes: 128 * 1024 });
      const value = ((await origin.bytesSent()) - before) / MIB;
      stage.record.add({
        case: 'one cold 128 KiB range',
        measure: 'MiB of the origin',
        rival: name,
        round: 0,
        value,
      });
    }
    for (let round = 0; round < reads; round += 1) {
      const start = (round + 1) * 9 * MIB + 345_678;
      for (const { connection, url, name } of rivals) {
        stage.signal.throwIfAborted();
        const { firstByteMs } = await connection.get({ url, range: [start, start + MIB], bytes: MIB });
        const figure = { case: 'cold 1 MiB range', measure: 'ms to the first byte' };
        stage.record.add({ ...figure, rival: name, round, value: firstByteMs });
        await sleep(PAUSE_MS);
      }
    }
  },
};
