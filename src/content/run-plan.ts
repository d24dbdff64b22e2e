import { type PieceRun, SEGMENT_PIECES } from '../blob/piece.ts';

/** First run of a read whose end the client left open: it may hang up after 8 MiB (containerd's parallel fetch). */
const FIRST_OPEN_RUN_PIECES = 4;
/** Pieces under way on the whole node past which readers of a swarm look no further ahead than a run of their own. */
const MAX_UNDERWAY_PIECES = 128;
/** So much is asked for on demand that the node's line is full: read-ahead would only take from it. */
const BUSY_FLIGHTS = 4;
const BUSY_PIECES = 32;

/** What can be asked for at once: one origin, in long runs, or a swarm, where every piece may come from another place. */
export type Reach =
  | { readonly kind: 'alone' }
  | {
      readonly kind: 'swarm';
      /** Pieces requested at once for a read whose end the client left open; two more for each that was read. */
      readonly firstPieces: number;
      /** The same of a request for the whole blob: few clients that make one hang up. */
      readonly firstWholePieces: number;
      /** The most for one reader; a closed range has it from the start. */
      readonly maxPieces: number;
      /** Pieces requested at once for a fill that nobody reads along. */
      readonly fillPieces: number;
      /** Stored pieces that stay in memory for a moment, since readers and peers want them again at once. */
      readonly freshPieces: number;
    };

export const ALONE: Reach = { kind: 'alone' };
export const SWARM: Extract<Reach, { kind: 'swarm' }> = {
  kind: 'swarm',
  firstPieces: 8,
  firstWholePieces: 16,
  maxPieces: 48,
  fillPieces: 16,
  freshPieces: 48,
};

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

/** What is going on besides one read. */
export interface Crowd {
  /** Pieces of all flights of the node. */
  readonly underwayPieces: number;
  /** Whether the disk keeps what arrives of this blob. */
  readonly isKept: boolean;
}

/**
 * How much one flight asks for. In a swarm one piece: each is looked for on its own, and a reader has many flights.
 * Alone, one origin request. Policy:
 *  1. never past the segment's end: the unit of planning, so that a cut or a lost connection wastes little;
 *  2. only pieces that are missing, without a gap;
 *  3. a closed range: all that it wants; an open one: 4, 8, then 16 pieces as the reader proves that it stays, each
 *     run ending at a multiple of its own length, so that readers that begin at such multiples never cut it short.
 */
export function planRun(
  wish: RunWish,
  isMissing: (piece: number) => boolean,
  reach: Reach = ALONE,
): PieceRun {
  if (reach.kind === 'swarm') return { first: wish.first, end: wish.first + 1 };
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

/**
 * How many pieces past the one at its position a reader has requested. Alone: enough that no request's latency makes a
 * gap. In a swarm: a window, since many peers are slow one by one and fast together; less of what nothing keeps, since
 * only its flights hold it until its turn comes, and less while the node has plenty under way.
 */
export function aheadPieces(
  reach: Reach,
  { open, whole, readPieces }: Pick<RunWish, 'open' | 'readPieces'> & { readonly whole: boolean },
  { underwayPieces, isKept }: Crowd,
): number {
  if (reach.kind === 'alone') return Math.max(FIRST_OPEN_RUN_PIECES, runLength(readPieces) / 2);
  const { firstPieces, firstWholePieces, maxPieces } = reach;
  if (!isKept || underwayPieces >= MAX_UNDERWAY_PIECES) return Math.min(FIRST_OPEN_RUN_PIECES, maxPieces) - 1;
  // In a crowd every reader waits for what none has asked for yet: doubling is too slow (test/bench/simulate).
  const window = open ? (whole ? firstWholePieces : firstPieces) + 2 * readPieces : maxPieces;
  return Math.min(window, maxPieces) - 1;
}

/** How many pieces past the one that it waits for a fill has requested. */
export function fillAheadPieces(reach: Reach, { underwayPieces, isKept }: Crowd): number {
  const isAlone = reach.kind === 'alone' || !isKept || underwayPieces >= MAX_UNDERWAY_PIECES;
  return isAlone ? 0 : reach.fillPieces - 1;
}

/** Whether what readers wait for now leaves no room for read-ahead. */
export function isBusy(reach: Reach, demand: { readonly flights: number; readonly pieces: number }): boolean {
  return reach.kind === 'alone' ? demand.flights >= BUSY_FLIGHTS : demand.pieces >= BUSY_PIECES;
}
