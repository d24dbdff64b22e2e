import { createHash } from 'node:crypto';
import type { PeerId } from '../../../peer/member.ts';
import type { Ask, Fetch, Inquiry, Plan, Realm, Report } from '../../../peer/messages.ts';
import type { Voucher } from '../../../peer/voucher.ts';
import type { Digest } from '../../../src/blob/digest.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { seededBytes } from '../origin/content.ts';

// Words between members with everything filled in, for tests that care for one thing of them.

export const REALM = '0123456789abcdef' as Realm;
export const DIGEST = `sha256:${'ab'.repeat(32)}` as Digest;
const NAME = { realm: REALM, digest: DIGEST, segment: 0 } as const;

export const anInquiry = (change: Partial<Inquiry> = {}): Inquiry => ({ ...NAME, ...change });

export const anAsk = (change: Partial<Ask> = {}): Ask => ({
  ...NAME,
  size: 20 * PIECE_BYTES,
  wanted: 0b11,
  held: 0b100,
  underway: 0,
  leases: 2,
  load: 3,
  urgency: 'demand',
  failed: [],
  hedge: 0,
  ...change,
});

export const aPlan = (change: Partial<Plan> = {}): Plan => ({
  ...NAME,
  size: 20 * PIECE_BYTES,
  assignments: [],
  isFinal: true,
  isPending: false,
  ...change,
});

export const aReport = (change: Partial<Report> = {}): Report => ({
  ...NAME,
  size: 20 * PIECE_BYTES,
  load: 3,
  held: 0b1,
  lost: 0,
  marks: [],
  leases: [],
  accused: [],
  ...change,
});

export const aFetch = (change: Partial<Fetch> = {}): Fetch => ({
  realm: REALM,
  digest: DIGEST,
  size: 3 * PIECE_BYTES - 1000,
  piece: 0,
  urgency: 'demand',
  waitMs: 5_000,
  ...change,
});

export const aVoucher = (by: PeerId): Voucher => ({ kind: 'attested', by, signature: Buffer.alloc(64, 7) });

/** The bytes of piece `piece`, always the same. */
export function pieceBytes(piece: number, length: number): Buffer {
  return Buffer.from(seededBytes(`piece ${piece}`, { start: 0, end: length }));
}

export const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
