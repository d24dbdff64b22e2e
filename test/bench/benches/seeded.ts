import type { Way } from '../exchange/job.ts';
import { Pair } from '../exchange/pair.ts';
import { type Bench, GIB, inTurn, MIB, MINUTE_MS, OURS } from '../stage.ts';

/** Pieces that are asked for at once. */
const WINDOW = 4;

const RIVALS: readonly { readonly name: string; readonly way: Way }[] = [
  { name: 'plain TLS 1.3', way: 'plain' },
  { name: 'plain TLS 1.3, onread', way: 'plain onread' },
  { name: `${OURS} exchange`, way: 'exchange' },
];

/** One node fetching from another, beside as little as Node can do to the same end. */
export const seeded: Bench = {
  what: 'node to node: pieces fetched, hashed and written, against a plain TLS 1.3 pair that does the same',
  deadlineMs: 10 * MINUTE_MS,
  run: async (stage) => {
    const { quick, record, signal } = stage;
    const pieces = quick ? 128 : 768;
    const rounds = stage.rounds ?? (quick ? 1 : 7);
    const pairs = await Promise.all(
      RIVALS.map(async ({ name, way }) => ({ name, pair: await Pair.start(stage, way) })),
    );
    for (let round = -1; round < rounds; round += 1) {
      for (const { name, pair } of inTurn(pairs, round + 1)) {
        signal.throwIfAborted();
        // The first round compiles the code and opens the connections.
        const result = await pair.read({ pieces: round < 0 ? 128 : pieces, window: WINDOW });
        if (round < 0) continue;
        const add = (measure: string, value: number): void =>
          record.add({ case: `1 MiB pieces, ${WINDOW} at once`, measure, rival: name, round, value });
        const gibibytes = result.bytes / GIB;
        add('MiB/s', result.bytes / MIB / result.seconds);
        add('CPU s/GiB, reader', result.readerCpu / gibibytes);
        add('CPU s/GiB, holder', result.holderCpu / gibibytes);
      }
    }
  },
};
