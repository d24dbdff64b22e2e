import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { seededBytes } from '../../support/origin/content.ts';

/** Different pieces that the holder has in memory; a blob repeats them. */
export const DISTINCT_PIECES = 16;

export function makePieces(): Buffer[] {
  return Array.from({ length: DISTINCT_PIECES }, (_, piece) =>
    Buffer.from(seededBytes(`bench piece ${piece}`, { start: 0, end: PIECE_BYTES })),
  );
}
