import { type PieceRun, SEGMENT_PIECES } from '../blob/piece.ts';

/** First run of a read whose end the client left open: it may hang up after 8 MiB (containerd's parallel fetch). */
const FIRST_OPEN_RUN_PIECES = 4;

export interface RunWish {
  /** The missing piece to start at. */
  readonly first: number;
  /** End (exclusive) of the pieces that the reader wants. */
  readonly end: number;
  /** True for a read that goes on for as long as the client stays: open-ended ranges and whole blobs. */
  readonly open: boolean;
  /** Pieces that this reader has got so far. */
  readonly readPieces: number;
}

/**
 * How much one origin request asks for. Policy:
 *  1. never past the segment's end: the unit of planning, so that a cut or a lost connection wastes little;
 *  2. only pieces that are missing, without a gap;
 *  3. a closed range: all that it wants; an open one: 4, 8, then 16 pieces as the reader proves that it stays, each
 *     run ending at a multiple of its own length, so that readers that begin at such multiples never cut it short.
 */
export function planRun(wish: RunWish, isMissing: (piece: number) => boolean): PieceRun {
  const segmentEnd = (Math.floor(wish.first / SEGMENT_PIECES) + 1) * SEGMENT_PIECES;
  const limit = Math.min(wish.end, wish.open ? openRunEnd(wish) : segmentEnd);
  let end = wish.first + 1;
  while (end < limit && isMissing(end)) end += 1;
  return { first: wish.first, end };
}

function openRunEnd({ first, readPieces }: RunWish): number {
  const length = runLength(readPieces);
  return (Math.floor(first / length) + 1) * length;
}

/** Pieces in one run of a reader that has got so many: a power of two between 4 and a segment. */
function runLength(readPieces: number): number {
  let length = FIRST_OPEN_RUN_PIECES;
  while (length * 2 <= readPieces && length < SEGMENT_PIECES) length *= 2;
  return length;
}

/** How many pieces ahead of its position a reader has requested: enough that no request's latency makes a gap. */
export function leadPieces(readPieces: number): number {
  return Math.max(FIRST_OPEN_RUN_PIECES, runLength(readPieces) / 2);
}
