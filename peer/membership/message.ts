import type { PeerId } from '../member.ts';
import { ByteReader, ByteWriter, MalformedBytes } from './bytes.ts';
import {
  FOLD_BYTES,
  LIFE_KEY_BYTES,
  type LifeKey,
  readSignedRow,
  type SignedRow,
  writeSignedRow,
} from './row.ts';

/** live: heard of. suspect: did not answer, and has some seconds to object. gone: dead, or it said goodbye. */
export type LifeState = 'live' | 'suspect' | 'gone';
export const LIFE_STATES: readonly LifeState[] = ['live', 'suspect', 'gone'];

/** A member's word about itself, and what others think of it. */
export interface Entry {
  readonly signed: SignedRow;
  readonly state: LifeState;
}

export interface SummaryItem {
  readonly key: LifeKey;
  readonly version: number;
  readonly state: LifeState;
}

export interface Beat {
  readonly key: LifeKey;
  /** Grows by one with each beat of that life. */
  readonly count: number;
}

/** Equal for equal sets of members that are not gone. */
export type TableHash = string;

/**
 * What two members say to each other on a link. bye: the sender closes the link, and it is no sign of trouble.
 */
export type Message =
  | { readonly kind: 'hello'; readonly self: Entry; readonly hash: TableHash }
  | { readonly kind: 'rows'; readonly entries: readonly Entry[] }
  /** All that I know, in short. You answer with what I lack, and ask for what you lack. */
  | { readonly kind: 'summary'; readonly items: readonly SummaryItem[] }
  | { readonly kind: 'want'; readonly keys: readonly LifeKey[] }
  | { readonly kind: 'beats'; readonly hash: TableHash; readonly beats: readonly Beat[] }
  /** I cannot reach this member. Can you? */
  | { readonly kind: 'probe'; readonly nonce: number; readonly target: PeerId }
  | { readonly kind: 'probed'; readonly nonce: number; readonly isAlive: boolean }
  | { readonly kind: 'bye'; readonly why: ByeReason };

export type ByeReason = 'full' | 'unneeded' | 'duplicate' | 'leaving';
const BYE_REASONS: readonly ByeReason[] = ['full', 'unneeded', 'duplicate', 'leaving'];

const KINDS = ['hello', 'rows', 'summary', 'want', 'beats', 'probe', 'probed', 'bye'] as const;
/** Of the table: what a node keeps and sends at most. Beyond it, a swarm of this design is not meant to go. */
export const MAX_MEMBERS = 16_384;
const MAX_PEER_ID_BYTES = 128;
/** A frame that claims more is refused before it is read. */
export const MAX_FRAME_BYTES = 1024 * 1024;
/** Rows are cut into frames of about this size. */
export const ROWS_FRAME_BYTES = 16 * 1024;

export function encodeMessage(message: Message): Buffer {
  const to = new ByteWriter().byte(KINDS.indexOf(message.kind));
  switch (message.kind) {
    case 'hello':
      writeEntry(to, message.self);
      to.raw(Buffer.from(message.hash, 'hex'));
      break;
    case 'rows':
      to.number(message.entries.length);
      for (const entry of message.entries) writeEntry(to, entry);
      break;
    case 'summary':
      to.number(message.items.length);
      for (const { key, version, state } of message.items) {
        writeKey(to, key);
        // State and version in one number: nearly always one byte.
        to.number(version * LIFE_STATES.length + LIFE_STATES.indexOf(state));
      }
      break;
    case 'want':
      to.number(message.keys.length);
      for (const key of message.keys) writeKey(to, key);
      break;
    case 'beats':
      to.raw(Buffer.from(message.hash, 'hex')).number(message.beats.length);
      for (const { key, count } of message.beats) {
        writeKey(to, key);
        to.number(count);
      }
      break;
    case 'probe':
      to.number(message.nonce).text(message.target);
      break;
    case 'probed':
      to.number(message.nonce).byte(message.isAlive ? 1 : 0);
      break;
    case 'bye':
      to.byte(BYE_REASONS.indexOf(message.why));
      break;
  }
  return to.done();
}

/** @throws MalformedBytes */
export function decodeMessage(bytes: Uint8Array): Message {
  const from = new ByteReader(bytes);
  const kind = KINDS[from.byte()];
  switch (kind) {
    case 'hello':
      return { kind, self: readEntry(from), hash: from.raw(FOLD_BYTES).toString('hex') };
    case 'rows':
      return { kind, entries: from.list(MAX_MEMBERS, () => readEntry(from)) };
    case 'summary':
      return { kind, items: from.list(MAX_MEMBERS, () => readSummaryItem(from)) };
    case 'want':
      return { kind, keys: from.list(MAX_MEMBERS, () => readKey(from)) };
    case 'beats': {
      const hash = from.raw(FOLD_BYTES).toString('hex');
      return {
        kind,
        hash,
        beats: from.list(MAX_MEMBERS, () => ({ key: readKey(from), count: from.number() })),
      };
    }
    case 'probe':
      return { kind, nonce: from.number(), target: from.text(MAX_PEER_ID_BYTES) as PeerId };
    case 'probed':
      return { kind, nonce: from.number(), isAlive: from.byte() !== 0 };
    case 'bye':
      return { kind, why: BYE_REASONS[from.byte()] ?? 'unneeded' };
    default:
      throw new MalformedBytes('a message of an unknown kind');
  }
}

/** Cuts rows into messages of a bounded size. */
export function rowsMessages(entries: readonly Entry[]): Message[] {
  const messages: Message[] = [];
  let batch: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    batch.push(entry);
    bytes += entry.signed.bytes.length + entry.signed.signature.length;
    if (bytes < ROWS_FRAME_BYTES) continue;
    messages.push({ kind: 'rows', entries: batch });
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) messages.push({ kind: 'rows', entries: batch });
  return messages;
}

function writeEntry(to: ByteWriter, entry: Entry): void {
  to.byte(LIFE_STATES.indexOf(entry.state));
  writeSignedRow(to, entry.signed);
}

function readEntry(from: ByteReader): Entry {
  const state = readState(from.byte());
  return { state, signed: readSignedRow(from) };
}

function readSummaryItem(from: ByteReader): SummaryItem {
  const key = readKey(from);
  const packed = from.number();
  const state = readState(packed % LIFE_STATES.length);
  return { key, version: Math.floor(packed / LIFE_STATES.length), state };
}

function readState(index: number): LifeState {
  const state = LIFE_STATES[index];
  if (state === undefined) throw new MalformedBytes('an unknown state of a member');
  return state;
}

function writeKey(to: ByteWriter, key: LifeKey): void {
  to.raw(Buffer.from(key, 'hex'));
}

function readKey(from: ByteReader): LifeKey {
  return from.raw(LIFE_KEY_BYTES).toString('hex') as LifeKey;
}
