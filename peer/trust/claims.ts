import { LRUCache } from 'lru-cache';
import { segmentCount, segmentOfPiece } from '../../src/blob/piece.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { PeerId } from '../member.ts';
import type { Voucher } from '../voucher.ts';
import type { Weight } from './distrust.ts';
import { type PieceFact, sameBytes } from './statement.ts';

/** Segments of which others' words are remembered; those that disagree are rare, and most agree with what is here. */
const MAX_SEGMENTS = 1_024;
/** Different digests of one piece that are remembered of each kind: with two of them nobody is believed already. */
const MAX_VALUES = 3;
/** Of those who say the same. */
const MAX_VOICES = 2;

/** What somebody has signed; the signature was checked. */
export interface Claim {
  readonly fact: PieceFact;
  readonly voucher: Voucher;
}

/**
 * What members have said of pieces, here or not: enough of it to know that they disagree, and who. Bounded for each piece, so
 * that one who signs anything does not displace the others: nobody has more than two words on a piece.
 */
export class Claims {
  readonly #segments: LRUCache<string, Claim[]>;
  readonly #crowded: LRUCache<string, true>;

  constructor(maxSegments: number = MAX_SEGMENTS) {
    this.#segments = new LRUCache({ max: maxSegments });
    this.#crowded = new LRUCache({ max: maxSegments });
  }

  of({ realm, digest, size, piece }: Omit<PieceFact, 'sha256'>): Claim[] {
    const all = this.#segments.get(keyOf(digest, segmentOfPiece(piece))) ?? [];
    return all.filter(({ fact }) => fact.piece === piece && fact.realm === realm && fact.size === size);
  }

  /**
   * More different proven words were heard of the piece than are remembered: one of those that are not may have been the
   * right one, so that what is left counts for nothing, also when the others are found to be liars'.
   */
  isCrowded({ realm, digest, piece }: Omit<PieceFact, 'sha256'>): boolean {
    return this.#crowded.has(`${realm} ${digest} ${piece}`);
  }

  /** Of all pieces, in every realm. */
  ofBlob({ digest, size }: KnownBlob): Claim[] {
    const found: Claim[] = [];
    for (let index = 0; index < segmentCount(size); index += 1)
      found.push(...(this.#segments.peek(keyOf(digest, index)) ?? []));
    return found.filter(({ fact }) => fact.size === size);
  }

  /** Whether the claim would tell anything that is not known. Its signature need not have been checked for this. */
  isNews({ fact, voucher }: Claim, weight: (by: PeerId) => Weight): boolean {
    if (weight(voucher.by) === 'ignored') return false;
    const same = this.of(fact).filter((known) => isSameWord(known, { fact, voucher }));
    return !same.some((known) => known.voucher.by === voucher.by || weight(known.voucher.by) === 'counts');
  }

  /** @returns the member's other word on the same piece, of the same kind, if it has one. */
  add(claim: Claim, weight: (by: PeerId) => Weight): Claim | undefined {
    const { fact, voucher } = claim;
    const sameKind = this.of(fact).filter((known) => known.voucher.kind === voucher.kind);
    const own = sameKind.filter((known) => known.voucher.by === voucher.by);
    const other = own.find((known) => !sameBytes(known.fact.sha256, fact.sha256));
    if (own.some((known) => isSameWord(known, claim)) || own.length > 1) return other;
    const same = sameKind.filter((known) => isSameWord(known, claim));
    const values = new Set(sameKind.map((known) => Buffer.from(known.fact.sha256).toString('latin1')));
    const isFull = same.length === 0 ? values.size >= MAX_VALUES : same.length >= MAX_VOICES;
    // Whose word is ignored makes room.
    const stale = isFull
      ? (same.length === 0 ? sameKind : same).find((known) => weight(known.voucher.by) === 'ignored')
      : undefined;
    if (isFull && stale === undefined) {
      if (same.length === 0 && voucher.kind === 'proven')
        this.#crowded.set(`${fact.realm} ${fact.digest} ${fact.piece}`, true);
      return other;
    }
    const key = keyOf(fact.digest, segmentOfPiece(fact.piece));
    const all = this.#segments.get(key) ?? [];
    this.#segments.set(key, [...all.filter((known) => known !== stale), claim]);
    return other;
  }
}

function isSameWord(a: Claim, b: Claim): boolean {
  return a.voucher.kind === b.voucher.kind && sameBytes(a.fact.sha256, b.fact.sha256);
}

function keyOf(digest: string, segment: number): string {
  return `${digest} ${segment}`;
}
