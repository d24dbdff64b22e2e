import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startCluster } from '../../support/cluster/cluster.ts';
import { Connection } from '../client/connection.ts';
import { digits, median } from '../measure.ts';
import { blobOf, REPOSITORY } from '../origin.ts';
import { type Bench, MIB, MINUTE_MS, OURS } from '../stage.ts';

const BUILT = fileURLToPath(new URL('../../../dist/src/main.js', import.meta.url));
const RANGE_BYTES = 128 * 1024;
/** Not at the start of a piece, as clients ask. */
const RANGE_AT = 345_678;
/** Between ranges: the rest of a piece is still coming in, and is being written, while its first bytes are out. */
const PAUSE_MS = 25;
/** They open the connections and compile the code. */
const WARM_UP = 20;
/** No two ranges are neighbours, or they would be read ahead. */
const STRIDE = 37;

/** A range that a member holds, each time of another piece, and the same range again, which is here by then. */
export const remoteHit: Bench = {
  what: 'first byte of cold 128 KiB ranges that another node has, beside the same range once it is here',
  deadlineMs: 5 * MINUTE_MS,
  run: async (stage) => {
    const { crowd, quick, record, scope, signal } = stage;
    const reads = WARM_UP + (quick ? 20 : (stage.rounds ?? 300));
    // Of a length that the stride does not divide, so that each piece is read once.
    const pieces = reads % STRIDE === 0 ? reads + 1 : reads;
    const size = pieces * MIB;
    const cluster = await startCluster({
      nodes: 2,
      main: process.env.BENCH_DAMSELFLY ?? BUILT,
      origin: { repositories: { [REPOSITORY]: { blobs: [{ size, seed: 'remote hit' }] } } },
      peers: { transport: crowd.transport },
    });
    scope.defer(() => cluster.close());
    signal.throwIfAborted();
    const { origin } = cluster;
    const { path } = blobOf(origin, 0);
    const [holder, reader] = [cluster.node(0), cluster.node(1)];
    const connection = new Connection(() => undefined);
    const filling = new Connection(() => undefined);
    scope.defer(() => {
      connection.close();
      filling.close();
    });
    await filling.get({ url: new URL(holder.url + path), bytes: size });
    const filled = await origin.bytesSent();

    const url = new URL(reader.url + path);
    const times = { remote: [] as number[], local: [] as number[] };
    for (let round = 0; round < reads; round += 1) {
      signal.throwIfAborted();
      const start = ((round * STRIDE) % pieces) * MIB + RANGE_AT;
      const get = () => connection.get({ url, range: [start, start + RANGE_BYTES], bytes: RANGE_BYTES });
      const remote = await get();
      await sleep(PAUSE_MS);
      const local = await get();
      await sleep(PAUSE_MS);
      if (round < WARM_UP) continue;
      times.remote.push(remote.firstByteMs);
      times.local.push(local.firstByteMs);
      const figure = { case: `128 KiB range, peers by ${crowd.transport}`, round: round - WARM_UP };
      for (const [rival, { firstByteMs, endMs }] of [
        [`${OURS}, from the other node`, remote],
        [`${OURS}, here`, local],
      ] as const) {
        record.add({ ...figure, measure: 'ms to the first byte', rival, value: firstByteMs });
        record.add({ ...figure, measure: 'ms to the last byte', rival, value: endMs });
      }
    }
    const more = (await origin.bytesSent()) - filled;
    if (more > 0) throw new Error(`the origin was read: ${more} bytes that the other node has`);
    const above = median(times.remote) - median(times.local);
    record.note(`a remote hit's first byte comes ${digits(above)} ms after a local hit's, at the median`);
  },
};
