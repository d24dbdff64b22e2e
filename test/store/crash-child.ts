import { PIECE_BYTES, pieceCount } from '../../src/blob/piece.ts';
import { Random } from '../support/random.ts';
import { blobOf, putPiece, readPiece, storeIn } from './support.ts';

/** The blobs that the child writes and the parent checks. */
export function crashBlobs() {
  return [
    blobOf(20 * PIECE_BYTES + 1, 'crash a'),
    blobOf(9 * PIECE_BYTES, 'crash b'),
    blobOf(4 * PIECE_BYTES + 12_345, 'crash c'),
    blobOf(1000, 'crash d'),
  ] as const;
}

export const CRASH_MAX_BYTES = 24 << 20;

/** Writes and reads at random until it is killed; says `ready` when it begins and a dot per stored piece. */
async function main([dir = '', seed = '']: readonly string[]): Promise<void> {
  const store = await storeIn(dir, { maxBytes: CRASH_MAX_BYTES, tuning: { indexDelayMs: 20 } });
  process.stdout.write('ready\n');
  const random = new Random(`crash ${seed}`);
  const blobs = crashBlobs();
  for (;;) {
    const blob = random.pick(blobs);
    const piece = random.integer(0, pieceCount(blob.size));
    store.facts.put('tag', { key: `${piece}`, value: 'x', expiresAtMs: Number.POSITIVE_INFINITY });
    if (random.next() < 0.7) {
      if ((await putPiece(store, blob, piece)) === 'stored') process.stdout.write('.');
    } else {
      await readPiece(store.disk, blob, piece);
    }
  }
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
