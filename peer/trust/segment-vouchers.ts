import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { PeerId } from '../member.ts';
import type { Realm } from '../messages.ts';
import { maskOf, type PieceMask, slotsOf } from '../piece-mask.ts';
import type { Voucher } from '../voucher.ts';

const SHA256_BYTES = 32;
const SIGNATURE_BYTES = 64;
const SLOT_BYTES = SHA256_BYTES + SIGNATURE_BYTES;

/** Why a piece that is here can be believed. */
export type PieceRecord =
  /** This node read it from the origin, as this. */
  | { readonly source: 'origin'; readonly sha256: Uint8Array }
  /** It is of a blob that was proven here before some of it was evicted. */
  | { readonly source: 'proof'; readonly sha256: Uint8Array }
  /** It came with this voucher. After a restart its sha256 is the store's to say (undefined). */
  | { readonly source: 'peer'; readonly sha256: Uint8Array | undefined; readonly voucher: Voucher };

/**
 * The records of one segment in 1.5 KiB and a few references: a cache full of partly held blobs has a hundred thousand
 * of them, and objects for each would take tens of megabytes.
 */
export class SegmentVouchers {
  readonly realm: Realm;
  /** Bytes of the blob. */
  readonly size: number;
  #slots: PieceMask = 0;
  /** Slots whose sha256 is known; the others were loaded, and their signature has not been checked against it. */
  #known: PieceMask = 0;
  readonly #kinds = new Uint8Array(SEGMENT_PIECES);
  readonly #by: (PeerId | undefined)[] = [];
  readonly #bytes = new Uint8Array(SEGMENT_PIECES * SLOT_BYTES);

  constructor(realm: Realm, size: number) {
    this.realm = realm;
    this.size = size;
  }

  get slots(): PieceMask {
    return this.#slots;
  }

  get(slot: number): PieceRecord | undefined {
    if ((this.#slots & (1 << slot)) === 0) return undefined;
    const at = slot * SLOT_BYTES;
    const sha256 = this.#bytes.slice(at, at + SHA256_BYTES);
    const by = this.#by[slot];
    const kind = this.#kinds[slot];
    if (kind === OWN || kind === PROOF || by === undefined)
      return { source: kind === PROOF ? 'proof' : 'origin', sha256 };
    const signature = this.#bytes.slice(at + SHA256_BYTES, at + SLOT_BYTES);
    return {
      source: 'peer',
      sha256: (this.#known & (1 << slot)) === 0 ? undefined : sha256,
      voucher: { kind: kind === PROVEN ? 'proven' : 'attested', by, signature },
    };
  }

  set(slot: number, record: PieceRecord): void {
    const at = slot * SLOT_BYTES;
    this.#slots |= 1 << slot;
    this.#known = record.sha256 === undefined ? this.#known & ~(1 << slot) : this.#known | (1 << slot);
    if (record.sha256 !== undefined) this.#bytes.set(record.sha256, at);
    if (record.source !== 'peer') {
      this.#kinds[slot] = record.source === 'proof' ? PROOF : OWN;
      this.#by[slot] = undefined;
      return;
    }
    const { kind, by, signature } = record.voucher;
    this.#kinds[slot] = kind === 'proven' ? PROVEN : ATTESTED;
    this.#by[slot] = by;
    this.#bytes.set(signature, at + SHA256_BYTES);
  }

  remove(slots: PieceMask): void {
    this.#slots &= ~slots;
    this.#known &= ~slots;
    for (const slot of slotsOf(slots)) this.#by[slot] = undefined;
  }

  /** Slots whose pieces came with this member's word. */
  by(peer: PeerId): PieceMask {
    return maskOf(slotsOf(this.#slots).filter((slot) => this.#by[slot] === peer));
  }

  /** Slots of which a proof is remembered. */
  proofs(): PieceMask {
    return maskOf(slotsOf(this.#slots).filter((slot) => this.#kinds[slot] === PROOF));
  }

  takeProofs(from: SegmentVouchers): void {
    for (const slot of slotsOf(from.proofs())) {
      const record = from.get(slot);
      if (record !== undefined) this.set(slot, record);
    }
  }

  /**
   * For the index: at most 2,600 characters. A signature binds its sha256, which the store keeps in any case, so only what
   * this node read itself is written with it.
   */
  encode(): string {
    const peers = [...new Set(slotsOf(this.#slots).map((slot) => this.#by[slot] ?? ''))].filter((id) => id);
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt8(FORMAT, 0);
    head.writeUIntBE(this.size, 1, 6);
    head.writeUInt16BE(this.#slots, 7);
    head.writeUInt8(peers.length, 9);
    const parts: Uint8Array[] = [head, short(this.realm), ...peers.map(short)];
    for (const slot of slotsOf(this.#slots)) {
      const kind = this.#kinds[slot] ?? OWN;
      const at = slot * SLOT_BYTES;
      const by = this.#by[slot];
      parts.push(Uint8Array.of(kind, by === undefined ? 0 : peers.indexOf(by)));
      parts.push(
        kind === OWN || kind === PROOF
          ? this.#bytes.subarray(at, at + SHA256_BYTES)
          : this.#bytes.subarray(at + SHA256_BYTES, at + SLOT_BYTES),
      );
    }
    return Buffer.concat(parts).toString('base64');
  }

  /** @returns null for what no {@link encode} has written. */
  static decode(value: string): SegmentVouchers | null {
    const reader = new Reader(Buffer.from(value, 'base64'));
    if (reader.number(1) !== FORMAT) return null;
    const size = reader.number(6);
    const slots = reader.number(2);
    const peerCount = reader.number(1);
    const segment = new SegmentVouchers(reader.short() as Realm, size);
    const peers: PeerId[] = [];
    for (let n = 0; n < Math.min(peerCount, SEGMENT_PIECES); n += 1) peers.push(reader.short() as PeerId);
    for (const slot of slotsOf(slots)) {
      const kind = reader.number(1);
      const by = peers[reader.number(1)];
      if (kind === OWN || kind === PROOF) {
        const source = kind === OWN ? 'origin' : 'proof';
        segment.set(slot, { source, sha256: reader.take(SHA256_BYTES) });
      } else {
        const voucher = {
          kind: kind === PROVEN ? 'proven' : 'attested',
          signature: reader.take(SIGNATURE_BYTES),
        } as const;
        if (by === undefined || kind > PROOF) return null;
        segment.set(slot, { source: 'peer', sha256: undefined, voucher: { ...voucher, by } });
      }
    }
    return reader.isWhole ? segment : null;
  }
}

const FORMAT = 1;
const HEAD_BYTES = 10;
const OWN = 0;
const ATTESTED = 1;
const PROVEN = 2;
const PROOF = 3;

/** Reads on with zeros past the end, and says afterwards that it was too short. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** All bytes were read, and no more than there are. */
  get isWhole(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(length: number): Uint8Array {
    const taken = new Uint8Array(length);
    taken.set(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return taken;
  }

  number(length: number): number {
    return this.take(length).reduce((value, byte) => value * 256 + byte, 0);
  }

  short(): string {
    return Buffer.from(this.take(this.number(1))).toString('latin1');
  }
}

function short(value: string): Uint8Array {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}
