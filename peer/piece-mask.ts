import { SEGMENT_PIECES } from '../src/blob/piece.ts';

/** Pieces of one segment, as bits: bit n is the segment's piece n (0 to 15). */
export type PieceMask = number;

export const NO_PIECES: PieceMask = 0;
export const ALL_PIECES: PieceMask = 2 ** SEGMENT_PIECES - 1;

export function maskOf(slots: Iterable<number>): PieceMask {
  let mask = 0;
  for (const slot of slots) mask |= 1 << slot;
  return mask;
}

/** Lowest first. */
export function slotsOf(mask: PieceMask): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < SEGMENT_PIECES; slot += 1) if ((mask & (1 << slot)) !== 0) slots.push(slot);
  return slots;
}

export function countOf(mask: PieceMask): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
