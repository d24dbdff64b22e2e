import type { Digest } from '../src/blob/digest.ts';
import type { UrgencyLevel } from '../src/blob/urgency.ts';
import type { PeerId } from './member.ts';
import type { PieceMask } from './piece-mask.ts';
import type { Voucher } from './voucher.ts';

// What members say to each other about one segment. Times are durations, never wall-clock times: clocks differ. No
// message carries a credential, an origin, a repository or a URL.

/**
 * Which origin a blob is read from, as 16 hex digits of a hash of its name: blobs of different origins never mix, since
 * an origin that a client may name freely could lie under another's digest. Members of one realm ask their own origin about rights.
 */
export type Realm = string & { readonly __realm: unique symbol };

export interface SegmentName {
  readonly realm: Realm;
  readonly digest: Digest;
  /** Of the blob: 0 for its first 16 MiB. */
  readonly segment: number;
}

/**
 * Reader → planner: where do I get these pieces? The planner answers with {@link Plan}s until every wanted piece has been
 * assigned; pieces that nobody has or reads yet, and that the reader may not read from the origin now, are
 * assigned when somebody else gets the lease or the reader's turn comes. Asking again replaces the earlier ask for that segment.
 */
export interface Ask extends SegmentName {
  /** Bytes of the blob; undefined while the reader does not know. */
  readonly size: number | undefined;
  readonly wanted: PieceMask;
  /** Of the wanted: under way as some planner said earlier, so that only those without a bit here need an assignment. */
  readonly underway: PieceMask;
  /** Complete and verified at the reader: an announcement at the same time. */
  readonly held: PieceMask;
  /**
   * How many more pieces of this segment the reader would read from the origin now. 0 until its requester's right is
   * established, when it cannot store, and when it holds as many leases as it may.
   */
  readonly leases: number;
  readonly urgency: UrgencyLevel;
  /** Pieces that the reader is to send to others: on their way out, waiting for a slot, or awaited here. */
  readonly load: number;
  /** Holders that did not deliver: not to be named again to this reader for these pieces. */
  readonly failed: readonly FailedHolder[];
  /** Wanted pieces for which a second origin read is asked for, since what was assigned is slow. */
  readonly hedge: PieceMask;
}

export interface FailedHolder {
  readonly from: PeerId;
  readonly pieces: PieceMask;
  /**
   * gone: it has not got them (the advert is withdrawn). silent: no answer, or a broken connection. slow: too late.
   * busy: its queue is full. wrong: bytes that do not match their voucher.
   */
  readonly why: 'gone' | 'silent' | 'slow' | 'busy' | 'wrong';
}

export type Assignment =
  /** Fetch from the first of these; the others are alternates. It may still be receiving: it answers when it has the piece. */
  | { readonly kind: 'fetch'; readonly pieces: PieceMask; readonly from: readonly PeerId[] }
  /** You, and no other, read these from the origin; void `leaseMs` after the last byte that you reported. */
  | {
      readonly kind: 'lease';
      readonly pieces: PieceMask;
      readonly leaseMs: number;
      readonly isHedge: boolean;
    };

export interface Plan extends SegmentName {
  /** As most holders say; undefined while nobody knows. */
  readonly size: number | undefined;
  readonly assignments: readonly Assignment[];
  /** Every wanted piece is assigned: no further plan follows for this ask. */
  readonly isFinal: boolean;
  /** The planner does not know this segment and is asking its understudy: do not give up on it yet. */
  readonly isPending: boolean;
}

/** Reader → the first two ranks, one way: what I have, what I lost, how my leases go. */
export interface Report extends SegmentName {
  /** 0 while the reader does not know. */
  readonly size: number;
  /** As in an {@link Ask}. */
  readonly load: number;
  /** All that I have of the segment, complete and verified. */
  readonly held: PieceMask;
  /** No longer here: evicted, dropped as wrong. */
  readonly lost: PieceMask;
  /** Digests of pieces that became complete since the last report. */
  readonly marks: readonly PieceMark[];
  readonly leases: readonly LeaseReport[];
  /** Pieces whose bytes the origin (or a proof) has shown to be wrong, and who vouched for them. */
  readonly accused: readonly Accusation[];
}

export interface PieceMark {
  /** Within the segment. */
  readonly slot: number;
  readonly sha256: Uint8Array;
  readonly voucher: Voucher;
}

export interface LeaseReport {
  readonly pieces: PieceMask;
  /** progress: bytes came since the last report, or the origin has said that it is slow. returned: others may read them. */
  readonly state: 'progress' | 'returned';
  /** Of a returned one; a client's hang-up is none. */
  readonly why?: 'refused' | 'failed' | 'busy' | 'disk' | 'stopping' | undefined;
}

export interface Accusation {
  readonly slot: number;
  readonly by: PeerId;
}

/** Planner → the next rank, and a joining planner → the others: what do you know of this segment? */
export type Inquiry = SegmentName;

export interface Knowledge extends SegmentName {
  readonly size: number | undefined;
  readonly holders: readonly { readonly peer: PeerId; readonly held: PieceMask }[];
  /** Under way now. */
  readonly leases: readonly { readonly peer: PeerId; readonly pieces: PieceMask; readonly leaseMs: number }[];
  /** This planner itself started less than 3 s ago: that it knows nothing says little. */
  readonly isFresh: boolean;
}

/** Reader → holder: send me this piece, whole. */
export interface Fetch {
  readonly realm: Realm;
  readonly digest: Digest;
  readonly size: number;
  /** Of the blob. */
  readonly piece: number;
  readonly urgency: UrgencyLevel;
  /** How long the holder may keep the question while the piece is still arriving there, or waits for an upload slot. */
  readonly waitMs: number;
}

export type FetchOutcome =
  | { readonly kind: 'piece'; readonly bytes: Buffer; readonly voucher: Voucher }
  /** Its upload queue is full; these have the piece as far as it knows. */
  | { readonly kind: 'busy'; readonly others: readonly PeerId[] }
  /** Not here, and not on its way. */
  | { readonly kind: 'gone' };
