import { createHash } from 'node:crypto';
import type { HostPort, Member, PeerId } from '../member.ts';
import { ByteReader, ByteWriter, MalformedBytes } from './bytes.ts';

/** One member's word about itself. Nobody else can write it: it is signed. */
export interface Row extends Member {
  /** Greater with each change within one epoch: new addresses, "I am not gone", a goodbye. */
  readonly version: number;
  /** Its goodbye; it comes back with a greater epoch, if at all. */
  readonly isLeaving: boolean;
}

export interface SignedRow {
  readonly row: Row;
  /** As it was signed; passed on unchanged, so that a newer node's further fields survive an older one. */
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
  /** Of its member and epoch. */
  readonly key: LifeKey;
  /** Of key and version: its part of a table's hash. */
  readonly fold: Uint8Array;
}

/** How rows are signed and checked; the simulated network does without. */
export interface RowSeal {
  sign(bytes: Uint8Array): Uint8Array;
  verify(id: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean;
}

/** What is signed begins with its purpose, so that no other signature of the key can be taken for a row. */
const PURPOSE = Buffer.from('damselfly member row 1\0');
/** Another one splits the swarm; what comes later is added at the end of a row, where older nodes leave it alone. */
const FORMAT = 1;
const LEAVING = 1;
const SIGNATURE_BYTES = 64;

const MAX_ADDRESSES = 16;
const MAX_TEXT_BYTES = 1_024;
/** With every field at its bound. */
export const MAX_ROW_BYTES = 48 * 1024;
/** In characters; what is longer is cut. */
export const MAX_ZONE_LENGTH = 256;

export function sealRow(row: Row, seal: RowSeal): SignedRow {
  const bytes = encode(row);
  return signedRow(row, bytes, seal.sign(signedPart(bytes)));
}

export function isGenuine(signed: SignedRow, seal: RowSeal): boolean {
  return seal.verify(signed.row.id, signedPart(signed.bytes), signed.signature);
}

export function writeSignedRow(to: ByteWriter, signed: SignedRow): void {
  to.block(signed.bytes).raw(signed.signature);
}

/** @throws MalformedBytes */
export function readSignedRow(from: ByteReader): SignedRow {
  // Copies: what is kept must not hold a whole frame in memory.
  const bytes = Buffer.from(from.block(MAX_ROW_BYTES));
  const signature = Buffer.from(from.raw(SIGNATURE_BYTES));
  return signedRow(decode(bytes), bytes, signature);
}

/**
 * Names one life of one member in 8 bytes (as 16 hex digits), where its whole id would be too long: in summaries and
 * heartbeats.
 */
export type LifeKey = string & { readonly __lifeKey: unique symbol };
export const LIFE_KEY_BYTES = 8;
export const FOLD_BYTES = 8;

function lifeKey(id: PeerId, epoch: number): LifeKey {
  const hash = createHash('sha256').update(`${id} ${epoch}`).digest();
  return hash.toString('hex', 0, LIFE_KEY_BYTES) as LifeKey;
}

/** Only the fields that the rest of the swarm sees. */
export function memberOf({ id, data, control, zone, epoch }: Row): Member {
  return { id, data, control, zone, epoch };
}

function signedRow(row: Row, bytes: Uint8Array, signature: Uint8Array): SignedRow {
  const key = lifeKey(row.id, row.epoch);
  const fold = createHash('sha256').update(`${key} ${row.version}`).digest().subarray(0, FOLD_BYTES);
  return { row, bytes, signature, key, fold };
}

function signedPart(bytes: Uint8Array): Buffer {
  return Buffer.concat([PURPOSE, bytes]);
}

function encode(row: Row): Buffer {
  const to = new ByteWriter().byte(FORMAT).text(row.id).number(row.epoch).number(row.version);
  to.byte(row.isLeaving ? LEAVING : 0).text(row.zone);
  const data = row.data.slice(0, MAX_ADDRESSES);
  to.number(data.length);
  for (const { host, port } of data) to.text(host).number(port);
  const control = row.control.slice(0, MAX_ADDRESSES);
  to.number(control.length);
  for (const address of control) to.text(address);
  return to.done();
}

/** Fields after the known ones are a newer node's, and are left alone. */
function decode(bytes: Uint8Array): Row {
  const from = new ByteReader(bytes);
  const format = from.byte();
  if (format !== FORMAT) throw new MalformedBytes(`a row of format ${format}`);
  const id = from.text(MAX_TEXT_BYTES) as PeerId;
  const epoch = from.number();
  const version = from.number();
  const isLeaving = (from.byte() & LEAVING) !== 0;
  const zone = from.text(MAX_TEXT_BYTES);
  const data = from.list(MAX_ADDRESSES, (): HostPort => {
    return { host: from.text(MAX_TEXT_BYTES), port: from.number(65_535) };
  });
  const control = from.list(MAX_ADDRESSES, () => from.text(MAX_TEXT_BYTES));
  return { id, epoch, version, isLeaving, zone, data, control };
}
