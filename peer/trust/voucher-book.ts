import { LRUCache } from 'lru-cache';
import { type Digest, parseDigest } from '../../src/blob/digest.ts';
import { pieceCount, SEGMENT_PIECES, segmentCount, segmentOfPiece } from '../../src/blob/piece.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { FactTable } from '../../src/store/facts.ts';
import type { PeerId } from '../member.ts';
import type { Realm } from '../messages.ts';
import { ALL_PIECES, maskOf, type PieceMask, slotsOf } from '../piece-mask.ts';
import type { Shelf } from '../shelf.ts';
import type { Voucher } from '../voucher.ts';
import type { ProvenLists } from './proven-lists.ts';
import { type PieceRecord, SegmentVouchers } from './segment-vouchers.ts';
import { type Notary, type PieceFact, sameBytes } from './statement.ts';

/** Segments of blobs that are not proven here: 128 GiB of them, in some 16 MiB of memory and 22 MiB of the index. */
const MAX_SEGMENTS = 8_192;
/** Changed segments that wait for {@link VoucherBook.flush}. */
const MAX_UNWRITTEN = 64;

/** A record with the place that it is about. */
export interface RecordedPiece {
  readonly realm: Realm;
  readonly piece: number;
  readonly record: PieceRecord;
}

/**
 * Why the pieces of this node can be believed, and the vouchers that go with them to others. Kept over a restart, one fact
 * per segment: without its voucher a piece of a blob that is not proven here is of no use to anybody else. Of a proven
 * blob nothing is kept, since this node signs for it.
 */
export class VoucherBook {
  readonly #notary: Notary;
  readonly #facts: FactTable;
  readonly #shelf: Pick<Shelf, 'realmsOf' | 'sha256Of'>;
  readonly #proofs: ProvenLists;
  readonly #segments: LRUCache<string, SegmentVouchers>;
  readonly #unwritten = new Set<string>();
  /** Blobs of which it was written down that they were proven. */
  readonly #inPart = new LRUCache<Digest, true>({ max: MAX_SEGMENTS });

  constructor(parts: {
    notary: Notary;
    facts: FactTable;
    shelf: Pick<Shelf, 'realmsOf' | 'sha256Of'>;
    proofs: ProvenLists;
    maxSegments?: number;
  }) {
    this.#notary = parts.notary;
    this.#facts = parts.facts;
    this.#shelf = parts.shelf;
    this.#proofs = parts.proofs;
    this.#segments = new LRUCache({
      max: parts.maxSegments ?? MAX_SEGMENTS,
      dispose: (_, key, reason) => {
        if (reason === 'evict') this.#remove(key);
      },
    });
    for (const { key, value } of parts.facts.load('voucher')) this.#load(key, value);
  }

  /** This node has read the piece from its origin, and attests it from now on. */
  readFromOrigin({ sha256, ...place }: PieceFact): void {
    this.#put(place, { source: 'origin', sha256 });
  }

  /** The piece has come with this voucher, which was checked. */
  received({ sha256, ...place }: PieceFact, voucher: Voucher): void {
    this.#put(place, { source: 'peer', sha256, voucher });
  }

  /**
   * What goes to others with the piece, to be asked for when it goes.
   * @param fact with the sha256 of the bytes that are sent.
   * @returns null when nobody whom this node knows has vouched for these bytes: then they are not sent.
   */
  voucherFor(fact: PieceFact): Voucher | null {
    const { realm, digest, size, piece, sha256 } = fact;
    const proof = this.#proofs.sha256Of(fact, piece);
    if (proof !== undefined) return sameBytes(proof, sha256) ? this.#notary.vouch('proven', fact) : null;
    const segment = this.#segments.get(keyOf(digest, segmentOfPiece(piece)));
    if (segment === undefined || segment.size !== size) return null;
    const slot = piece % SEGMENT_PIECES;
    const record = segment.get(slot);
    // What was proven is right whatever origin it is read from.
    if (record === undefined || (record.source !== 'proof' && segment.realm !== realm)) return null;
    if (record.sha256 !== undefined && !sameBytes(record.sha256, sha256)) return null;
    if (record.source !== 'peer')
      return this.#notary.vouch(record.source === 'proof' ? 'proven' : 'attested', fact);
    if (record.sha256 === undefined) {
      if (!this.#notary.isSigned(fact, record.voucher)) {
        // The index is older than the piece that lies there now.
        this.forgetPiece(digest, piece);
        return null;
      }
      segment.set(slot, { ...record, sha256 });
    }
    return record.voucher;
  }

  /** Which pieces of a segment could go to others, if they are here. */
  vouched(realm: Realm, blob: KnownBlob, segment: number): PieceMask {
    if (this.#proofs.has(blob)) return ALL_PIECES;
    const { digest, size } = blob;
    const known = this.#segments.peek(keyOf(digest, segment));
    if (known?.size !== size) return 0;
    return known.realm === realm ? known.slots : known.proofs();
  }

  recordOf(realm: Realm, { digest, size }: KnownBlob, piece: number): PieceRecord | undefined {
    const segment = this.#segments.peek(keyOf(digest, segmentOfPiece(piece)));
    if (segment?.size !== size) return undefined;
    const record = segment.get(piece % SEGMENT_PIECES);
    if (segment.realm !== realm && record?.source !== 'proof') return undefined;
    return this.#resolved(digest, piece, record);
  }

  /** Everything that is recorded of a blob. */
  recordsOf({ digest, size }: KnownBlob): RecordedPiece[] {
    const found: RecordedPiece[] = [];
    for (let index = 0; index < segmentCount(size); index += 1) {
      const segment = this.#segments.peek(keyOf(digest, index));
      if (segment?.size !== size) continue;
      for (const slot of slotsOf(segment.slots)) {
        const piece = index * SEGMENT_PIECES + slot;
        const record = this.#resolved(digest, piece, segment.get(slot));
        if (record !== undefined) found.push({ realm: segment.realm, piece, record });
      }
    }
    return found;
  }

  /** Pieces that are believed on this member's word alone. */
  piecesBy(peer: PeerId): { realm: Realm; blob: KnownBlob; piece: number }[] {
    const found: { realm: Realm; blob: KnownBlob; piece: number }[] = [];
    for (const [key, { realm, size }] of this.#segments.entries()) {
      const place = placeOf(key);
      const segment = this.#segments.peek(key);
      if (place === null || segment === undefined) continue;
      for (const slot of slotsOf(segment.by(peer)))
        found.push({
          realm,
          blob: { digest: place.digest, size },
          piece: place.segment * SEGMENT_PIECES + slot,
        });
    }
    return found;
  }

  /** Pieces of a segment have left the store: records of those that are not in it any more go. */
  lost(digest: Digest, segment: number): void {
    const key = keyOf(digest, segment);
    const known = this.#segments.peek(key);
    if (known === undefined) return;
    const gone = slotsOf(known.slots).filter(
      (slot) => this.#shelf.sha256Of(digest, segment * SEGMENT_PIECES + slot) === undefined,
    );
    this.#removeSlots(key, known, maskOf(gone));
  }

  /**
   * Of a blob that was proven here some pieces are gone: from now on it is written down for each of the others that it was
   * proven, since after a restart nothing else would say so.
   */
  provenInPart(blob: KnownBlob): void {
    const { digest, size } = blob;
    const [realm] = this.#shelf.realmsOf(digest);
    if (realm === undefined || this.#inPart.has(digest)) return;
    this.#inPart.set(digest, true);
    for (let piece = 0; piece < pieceCount(size); piece += 1) {
      const sha256 = this.#shelf.sha256Of(digest, piece);
      if (sha256 !== undefined) this.#put({ realm, digest, size, piece }, { source: 'proof', sha256 });
    }
  }

  forgetPiece(digest: Digest, piece: number): void {
    const key = keyOf(digest, segmentOfPiece(piece));
    const known = this.#segments.peek(key);
    if (known !== undefined) this.#removeSlots(key, known, 1 << (piece % SEGMENT_PIECES));
  }

  /** The blob is proven here, or was dropped. */
  forget({ digest, size }: KnownBlob): void {
    this.#inPart.delete(digest);
    for (let index = 0; index < segmentCount(size); index += 1) {
      const key = keyOf(digest, index);
      if (this.#segments.delete(key)) this.#remove(key);
    }
  }

  /**
   * Hands what changed to the index: once a second, and before the store is closed. What was not handed over when a node
   * dies is lost: those pieces stay readable here, and are not passed on.
   */
  flush(): void {
    for (const key of this.#unwritten) {
      const segment = this.#segments.peek(key);
      if (segment === undefined) continue;
      this.#facts.put('voucher', { key, value: segment.encode(), expiresAtMs: Number.POSITIVE_INFINITY });
    }
    this.#unwritten.clear();
  }

  #put({ realm, digest, size, piece }: Omit<PieceFact, 'sha256'>, record: PieceRecord): void {
    const blob = { digest, size };
    if (this.#proofs.isWhole(blob)) return;
    const proof = this.#proofs.sha256Of(blob, piece);
    const key = keyOf(digest, segmentOfPiece(piece));
    const known = this.#segments.get(key);
    let segment = known;
    // Unproven bytes are of one origin only; what was recorded for another is of an earlier life of the blob.
    if (segment === undefined || segment.realm !== realm || segment.size !== size) {
      segment = new SegmentVouchers(realm, size);
      if (known?.size === size) segment.takeProofs(known);
      this.#segments.set(key, segment);
    }
    const isProof = proof !== undefined && record.sha256 !== undefined && sameBytes(proof, record.sha256);
    segment.set(piece % SEGMENT_PIECES, isProof ? { source: 'proof', sha256: proof } : record);
    this.#changed(key);
  }

  #changed(key: string): void {
    this.#unwritten.add(key);
    if (this.#unwritten.size >= MAX_UNWRITTEN) this.flush();
  }

  #removeSlots(key: string, segment: SegmentVouchers, slots: PieceMask): void {
    if ((segment.slots & slots) === 0) return;
    segment.remove(slots);
    if (segment.slots !== 0) this.#changed(key);
    else if (this.#segments.delete(key)) this.#remove(key);
  }

  #remove(key: string): void {
    this.#unwritten.delete(key);
    this.#facts.remove('voucher', key);
  }

  #load(key: string, value: string): void {
    const segment = SegmentVouchers.decode(value);
    if (placeOf(key) === null || segment === null) this.#facts.remove('voucher', key);
    else this.#segments.set(key, segment);
  }

  /** A record that was loaded speaks of what lies in the store, if its signature says so. */
  #resolved(digest: Digest, piece: number, record: PieceRecord | undefined): PieceRecord | undefined {
    if (record?.sha256 !== undefined || record === undefined) return record;
    const sha256 = this.#shelf.sha256Of(digest, piece);
    const segment = this.#segments.peek(keyOf(digest, segmentOfPiece(piece)));
    if (sha256 === undefined || segment === undefined || record.source !== 'peer') return undefined;
    const fact = { realm: segment.realm, digest, size: segment.size, piece, sha256 };
    if (!this.#notary.isSigned(fact, record.voucher)) return undefined;
    const resolved = { ...record, sha256 };
    segment.set(piece % SEGMENT_PIECES, resolved);
    return resolved;
  }
}

function keyOf(digest: Digest, segment: number): string {
  return `${digest} ${segment}`;
}

function placeOf(key: string): { digest: Digest; segment: number } | null {
  const [name = '', index = ''] = key.split(' ');
  const digest = parseDigest(name);
  return digest === null || !/^\d{1,9}$/.test(index) ? null : { digest, segment: Number(index) };
}
