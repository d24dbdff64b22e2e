import type { PieceRun } from '../../src/blob/piece.ts';
import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import type { PeerId } from '../member.ts';
import type { Ask, Fetch, Report, SegmentName } from '../messages.ts';

/** Names one caller's interest in one piece. */
export type Ticket = number & { readonly __ticket: unique symbol };
export type AskId = number & { readonly __askId: unique symbol };
export type FetchId = number & { readonly __fetchId: unique symbol };
export type ReadId = number & { readonly __readId: unique symbol };

/** Why the origin is read: unleased ones have a metric of their own. */
export type ReadReason = 'lease' | 'hedge' | 'unleased';

/** What a hunt wants done. What is dropped is not reported on any more; late words about it are ignored. */
export type HuntAction =
  /** Each plan goes to `Hunt.plan`, a broken or refused call to `Hunt.askFailed`. The planner may be this node. */
  | { readonly kind: 'ask'; readonly ask: AskId; readonly to: PeerId; readonly question: Ask }
  | { readonly kind: 'drop-ask'; readonly ask: AskId }
  /** Bytes go to `Hunt.fetchProgress`, the end to `Hunt.fetchEnded`. */
  | { readonly kind: 'fetch'; readonly fetch: FetchId; readonly to: PeerId; readonly question: Fetch }
  | { readonly kind: 'drop-fetch'; readonly fetch: FetchId }
  /** Pieces of the blob to read from the origin: `Hunt.readProgress`, `Hunt.readPiece` for each, `Hunt.readEnded`. */
  | {
      readonly kind: 'read';
      readonly read: ReadId;
      readonly segment: SegmentName;
      readonly pieces: PieceRun;
      readonly reason: ReadReason;
      readonly urgency: UrgencyLevel;
    }
  | { readonly kind: 'drop-read'; readonly read: ReadId }
  /** One way. The receiver may be this node. */
  | { readonly kind: 'report'; readonly to: PeerId; readonly reports: readonly Report[] }
  /** The ticket is over. here: its piece came. given-up: its time is over; the caller looks elsewhere. */
  | { readonly kind: 'settled'; readonly ticket: Ticket; readonly how: 'here' | 'given-up' };

export interface WantOptions {
  readonly urgency: UrgencyLevel;
  /** The reader's right is established, and the node can store: it may read the piece from the origin. */
  readonly mayLease: boolean;
  /** Somebody stands still until it is here; undefined: yes. What nobody awaits is neither hedged nor read without a lease. */
  readonly isAwaited?: boolean | undefined;
  /** On the hunt's clock: when the caller can't use the piece any more. */
  readonly deadlineAt?: number | undefined;
}

/** How a fetch ended. verified: the whole piece, its digest matched. others: as its busy answer named them. */
export type FetchEnd =
  | { readonly kind: 'verified' }
  | { readonly kind: 'busy'; readonly others: readonly PeerId[] }
  | { readonly kind: 'gone' | 'silent' | 'wrong' };

/** How an origin read ended; everything but done gives its leases back. */
export type ReadEnd = 'done' | 'refused' | 'failed' | 'busy' | 'disk' | 'stopping';
