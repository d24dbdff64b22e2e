import { LRUCache } from 'lru-cache';
import { PIECE_BYTES, SEGMENT_PIECES } from '../blob/piece.ts';
import type { Segment } from './segment.ts';

/**
 * Which pieces the kernel probably still has in its page cache: those that we wrote or read last, up to a share of the
 * memory. A wrong yes costs a blocked loop for one disk read (sendfile of a cold page), a wrong no costs a copy.
 */
export class Residency {
  readonly #pieces: LRUCache<number, boolean>;

  constructor(residentBytes: number) {
    this.#pieces = new LRUCache({ max: Math.max(1, Math.floor(residentBytes / PIECE_BYTES)) });
  }

  /** True when the whole piece is believed to be in memory; counts as a use. */
  has(segment: Segment, slot: number): boolean {
    return this.#pieces.get(keyOf(segment, slot)) === true;
  }

  /** The whole piece has just passed through memory. */
  add(segment: Segment, slot: number): void {
    this.#pieces.set(keyOf(segment, slot), true);
  }

  /** A part of a cold piece was read. @returns true the second time: it is worth being read whole. */
  readPart(segment: Segment, slot: number): boolean {
    const key = keyOf(segment, slot);
    const seen = this.#pieces.get(key) !== undefined;
    if (!seen) this.#pieces.set(key, false);
    return seen;
  }
}

function keyOf(segment: Segment, slot: number): number {
  return segment.serial * SEGMENT_PIECES + slot;
}
