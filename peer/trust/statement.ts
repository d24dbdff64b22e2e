import { LRUCache } from 'lru-cache';
import type { Digest } from '../../src/blob/digest.ts';
import { PIECE_BYTES, pieceCount, pieceLength } from '../../src/blob/piece.ts';
import type { PeerId } from '../member.ts';
import type { Realm } from '../messages.ts';
import type { Voucher } from '../voucher.ts';

// What a voucher signs. All fields are of a fixed length or have their length before them, so no two statements share
// their bytes; the first line keeps them apart from whatever else the same key signs (TLS certificates, Noise).
//
//   21 bytes  "damselfly voucher v1\n"
//   u8 + n    network, UTF-8
//   u8 + n    realm, ASCII
//   u8        kind: 1 attested, 2 proven
//   u8 + n    blob digest, ASCII ("sha256:…")
//   u64       blob size in bytes        (all numbers big-endian)
//   u32       piece index in the blob
//   u32       piece length in bytes
//   32 bytes  sha256 of the piece
//
// The network is a name, not the network key nor anything made from it: keys are rotated, and what was vouched for under
// the old one has to stay good on every node that holds partial blobs. Nothing hangs on it being secret: who may speak
// at all is settled on the connection, by proof of the key. It only keeps the words of one network (a test cluster whose nodes
// were moved with their identities) from being repeated in another.

/** Of every network that was given no other name. */
export const DEFAULT_NETWORK = 'default';

const HEADER = Buffer.from('damselfly voucher v1\n', 'latin1');
const KINDS = { attested: 1, proven: 2 } as const;
const SHA256_BYTES = 32;
/** Own signatures that are kept: 30 µs each to make again. */
const MAX_SIGNED = 4_096;

/** One piece of one blob of one realm, and what its bytes hash to. */
export interface PieceFact {
  readonly realm: Realm;
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
  /** Of the blob. */
  readonly piece: number;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
}

/**
 * The bytes to be signed.
 * @throws RangeError for what can be no piece.
 */
export function statementBytes(network: string, kind: Voucher['kind'], fact: PieceFact): Uint8Array {
  const { realm, digest, size, piece, sha256 } = fact;
  if (!Number.isSafeInteger(size) || !Number.isInteger(piece) || piece < 0 || piece >= pieceCount(size))
    throw new RangeError(`a blob of ${size} bytes has no piece ${piece}`);
  if (sha256.length !== SHA256_BYTES) throw new RangeError(`a sha256 has 32 bytes, not ${sha256.length}`);
  const numbers = Buffer.alloc(16);
  numbers.writeBigUInt64BE(BigInt(size), 0);
  numbers.writeUInt32BE(piece, 8);
  numbers.writeUInt32BE(pieceLength(piece, size), 12);
  return Buffer.concat([
    HEADER,
    text(network, 'utf8'),
    text(realm, 'latin1'),
    Uint8Array.of(KINDS[kind]),
    text(digest, 'latin1'),
    numbers,
    sha256,
  ]);
}

/** The node's own key, and everybody's public ones. */
export interface Signatory {
  readonly self: PeerId;
  sign(bytes: Uint8Array): Uint8Array;
  verify(by: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** Makes this node's vouchers, when they are asked for, and checks those of others. */
export class Notary {
  readonly self: PeerId;
  readonly #signatory: Signatory;
  readonly #network: string;
  readonly #signed = new LRUCache<string, Voucher>({ max: MAX_SIGNED });

  constructor(signatory: Signatory, network: string = DEFAULT_NETWORK) {
    this.self = signatory.self;
    this.#signatory = signatory;
    this.#network = network;
  }

  vouch(kind: Voucher['kind'], fact: PieceFact): Voucher {
    const statement = statementBytes(this.#network, kind, fact);
    const key = Buffer.from(statement).toString('latin1');
    const known = this.#signed.get(key);
    if (known !== undefined) return known;
    const voucher: Voucher = { kind, by: this.self, signature: this.#signatory.sign(statement) };
    this.#signed.set(key, voucher);
    return voucher;
  }

  /** Whether the voucher speaks of these very bytes in this very place; false also for what can be no piece. */
  isSigned(fact: PieceFact, voucher: Voucher): boolean {
    if (!isPiece(fact)) return false;
    const statement = statementBytes(this.#network, voucher.kind, fact);
    return this.#signatory.verify(voucher.by, statement, voucher.signature);
  }
}

/** Whether what somebody else said can be a piece at all. */
export function isPiece({ size, piece, sha256 }: Omit<PieceFact, 'realm' | 'digest'>): boolean {
  return (
    Number.isSafeInteger(size) &&
    Number.isInteger(piece) &&
    piece >= 0 &&
    piece * PIECE_BYTES < size &&
    piece <= 0xffff_ffff &&
    sha256.length === SHA256_BYTES
  );
}

/** Of the digest of a blob of one piece nothing else is needed: its own digest proves it. Undefined for other blobs. */
export function selfProof(digest: Digest, size: number): Uint8Array | undefined {
  if (size <= 0 || size > PIECE_BYTES || !digest.startsWith('sha256:')) return undefined;
  return Buffer.from(digest.slice('sha256:'.length), 'hex');
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function text(value: string, encoding: BufferEncoding): Uint8Array {
  const bytes = Buffer.from(value, encoding);
  if (bytes.length > 0xff) throw new RangeError(`longer than 255 bytes: ${value.slice(0, 32)}…`);
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}
