import type { PieceRun } from '../../../src/blob/piece.ts';
import type { RunWish } from '../../../src/content/run-plan.ts';

export * from '../../../src/content/run-plan.ts';

/** Where the end is not known, it is far away. */
const MANY_PIECES = 1_000;

export function planRun(wish: RunWish, isMissing: (piece: number) => boolean): PieceRun {
  const last = Math.min(wish.end, wish.first + MANY_PIECES);
  let end = wish.first + 1;
  while (end < last && isMissing(end)) end += 1;
  return { first: wish.first, end };
}
