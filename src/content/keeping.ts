import { LRUCache } from 'lru-cache';
import type { Digest } from '../blob/digest.ts';
import { PIECE_BYTES, SEGMENT_PIECES } from '../blob/piece.ts';

/** Where the last piece of a blob was kept. */
export type Place = 'disk' | 'memory' | 'nowhere';

/** Blobs remembered; of one that is forgotten the next piece tells it again. */
const MAX_BLOBS = 4096;
/** How often a blob whose pieces are kept nowhere is read in whole pieces, so that one is offered again. */
const OFFER_EVERY_MS = 2_000;
/**
 * Share of the memory tier that may hold what nobody has asked for yet, where the disk takes nothing: what a reader has
 * just used counts as younger there than what was read ahead for it, so with more the one would evict the other.
 */
const AHEAD_SHARE = 1 / 4;

/** So many pieces that the disk takes in a row, and it is as good as one that never declined. */
const TRUSTED_STREAK = SEGMENT_PIECES;

interface Entry {
  readonly place: Place;
  readonly offerAtMs: number;
  /** Pieces that the disk has taken in a row. */
  readonly streak: number;
}

/**
 * Remembers of which blobs the disk takes no pieces at present, so that nothing is fetched that could not be kept: no
 * read-ahead past what memory holds, and where memory takes nothing either, only the bytes that are asked for. A disk
 * that takes some pieces and declines others (its quota is smaller than a segment) is trusted again piece by piece.
 */
export class Keeping {
  readonly #memoryBytes: number;
  readonly #now: () => number;
  readonly #entries = new LRUCache<Digest, Entry>({ max: MAX_BLOBS });

  /** @param memoryBytes what the memory tier may hold. */
  constructor(memoryBytes: number, now: () => number = performance.now.bind(performance)) {
    this.#memoryBytes = memoryBytes;
    this.#now = now;
  }

  /** A piece was offered to the disk, then to memory. */
  note(digest: Digest, place: Place): void {
    const streak = place === 'disk' ? (this.#entries.get(digest)?.streak ?? TRUSTED_STREAK) + 1 : 0;
    if (streak >= TRUSTED_STREAK) this.#entries.delete(digest);
    else this.#entries.set(digest, { place, offerAtMs: this.#now() + OFFER_EVERY_MS, streak });
  }

  /** Whether the disk takes it, as far as is known. */
  isKept(digest: Digest): boolean {
    return !this.#entries.has(digest);
  }

  /** Bytes that may be fetched of a blob before anybody asks for them. */
  aheadBytes(digest: Digest): number {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return Number.POSITIVE_INFINITY;
    if (entry.place === 'memory') return this.#memoryBytes * AHEAD_SHARE;
    return Math.floor(entry.streak / 2) * PIECE_BYTES;
  }

  /** Whether a read is to fetch no more than it wants. False for one caller whenever a piece is to be offered again. */
  passesThrough(digest: Digest): boolean {
    const entry = this.#entries.get(digest);
    if (entry?.place !== 'nowhere') return false;
    const now = this.#now();
    if (now < entry.offerAtMs) return true;
    this.#entries.set(digest, { ...entry, offerAtMs: now + OFFER_EVERY_MS });
    return false;
  }
}
