import { type Digest, parseDigest } from '../../src/blob/digest.ts';
import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import { SIGNATURE_BYTES } from '../identity/signature.ts';
import type { PeerId } from '../member.ts';
import type { Realm, SegmentName } from '../messages.ts';
import { ALL_PIECES, type PieceMask } from '../piece-mask.ts';
import type { Voucher } from '../voucher.ts';
import { ByteReader, type ByteWriter, broken } from './wire.ts';

// What messages are made of. Whoever reads bounds every list before it makes anything of it, takes each value only if it is one
// that the type allows, and throws `peer-broken` for all else.

export const SHA256_BYTES = 32;
const VOUCHER_KINDS = ['attested', 'proven'] as const satisfies Voucher['kind'][];
const PEER_ID = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;
const REALM = /^[0-9a-f]{16}$/;

/** Reads a body to its end. @throws DamselflyError `peer-broken` also when anything is left. */
export function whole<T>(body: Buffer, read: (from: ByteReader) => T): T {
  const from = new ByteReader(body);
  const value = read(from);
  from.end();
  return value;
}

export function writeName(to: ByteWriter, { realm, digest, segment }: SegmentName): void {
  to.text(realm).text(digest).u32(segment);
}

export function readName(from: ByteReader): SegmentName {
  return { realm: readRealm(from), digest: readDigest(from), segment: from.u32() };
}

export function readRealm(from: ByteReader): Realm {
  const text = from.text();
  if (!REALM.test(text)) throw broken('what should name a realm does not');
  return text as Realm;
}

export function readDigest(from: ByteReader): Digest {
  const digest = parseDigest(from.text());
  if (digest === null) throw broken('what should be a digest is none');
  return digest;
}

export function readPeer(from: ByteReader): PeerId {
  const text = from.text();
  if (!PEER_ID.test(text)) throw broken('what should be a peer id is none');
  return text as PeerId;
}

export function readMask(from: ByteReader): PieceMask {
  return from.u16() & ALL_PIECES;
}

export function readSlot(from: ByteReader): number {
  const slot = from.u8();
  if (slot >= SEGMENT_PIECES) throw broken('a segment has no such piece');
  return slot;
}

export function writeSize(to: ByteWriter, size: number | undefined): void {
  to.u8(size === undefined ? 0 : 1);
  if (size !== undefined) to.u53(size);
}

export function readSize(from: ByteReader): number | undefined {
  return readFlag(from) ? from.u53() : undefined;
}

export function readFlag(from: ByteReader): boolean {
  const flag = from.u8();
  if (flag > 1) throw broken('what should be yes or no is neither');
  return flag === 1;
}

export function writeVoucher(to: ByteWriter, voucher: Voucher): void {
  writeOneOf(to, VOUCHER_KINDS, voucher.kind);
  to.text(voucher.by).bytes(voucher.signature);
}

export function readSha256(from: ByteReader): Buffer {
  return from.bytes(SHA256_BYTES);
}

export function readVoucher(from: ByteReader): Voucher {
  return {
    kind: readOneOf(from, VOUCHER_KINDS),
    by: readPeer(from),
    signature: from.bytes(SIGNATURE_BYTES),
  };
}

export function writeOneOf<T>(to: ByteWriter, words: readonly T[], word: T): void {
  to.u8(words.indexOf(word));
}

export function readOneOf<T>(from: ByteReader, words: readonly T[]): T {
  const index = from.u8();
  if (index >= words.length) throw broken('a word that nobody knows');
  return words[index] as T;
}

/** What is past the bound is left out. */
export function writeList<T>(to: ByteWriter, all: readonly T[], max: number, write: (one: T) => void): void {
  const kept = all.slice(0, max);
  to.u16(kept.length);
  for (const one of kept) write(one);
}

export function readList<T>(from: ByteReader, max: number, read: () => T): T[] {
  const count = from.u16();
  if (count > max) throw broken(`a list of ${count}`);
  const all: T[] = [];
  for (let i = 0; i < count; i += 1) all.push(read());
  return all;
}
