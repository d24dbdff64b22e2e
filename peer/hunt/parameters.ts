/** What may be tuned in hunting; defaults are measured by test/bench/simulate. */
export interface HuntParameters {
  /** A planner that says nothing for this long, and its measured round trip, is suspect. */
  readonly askMs: number;
  /** What is usual counts up to here. */
  readonly maxAskMs: number;
  /** A planner that holds unanswered wants is asked again so often: it may have died without a word. */
  readonly refreshMs: number;
  /**
   * How long a holder may keep a fetch whose piece is still on its way there, or that waits for a slot. Long, since asking
   * again means the end of the queue: it says all the while that it has not forgotten.
   */
  readonly waitMs: number;
  /** A holder that says nothing at all for this long, its round trip and what is usual now is silent. */
  readonly silentMs: number;
  /** Past `waitMs` and the measured round trip, a holder has so long to say so. */
  readonly graceMs: number;
  /** No byte for so long in mid-piece is a stall. */
  readonly stallMs: number;
  /** A piece whose bytes come so slowly that so much more time is needed may come sooner from elsewhere. */
  readonly slowMs: number;
  /** The speed of a transfer is not judged before it has sent for so long. */
  readonly judgeMs: number;
  /** A reader that leaves after so long without the piece takes its holders for unhelpful. */
  readonly leftMs: number;
  /** An unhelpful holder is the last choice for all pieces until it delivers, or so long; each further time twice as long, up to `maxUnhelpfulMs`. */
  readonly unhelpfulMs: number;
  readonly maxUnhelpfulMs: number;
  /** A second holder is tried not before, and at the latest after, so long without a byte from the first. */
  readonly alternateMinMs: number;
  readonly alternateMaxMs: number;
  /** Part of the fetches that may be second ones. */
  readonly alternateShare: number;
  /** Fetches at once; on-demand ones start before prefetch. */
  readonly maxFetches: number;
  /** Pieces that are read from the origin under leases at once. */
  readonly maxLeases: number;
  /** A node that has so many pieces to send takes no new lease. */
  readonly maxLoad: number;
  /** Pieces per request to the origin. */
  readonly leaseRun: number;
  /** So much before a lease ends its reader stops: the grant took time to arrive. */
  readonly leaseMarginMs: number;
  readonly progressMs: number;
  /** Completed pieces are reported together after so long; leased ones at once. */
  readonly reportMs: number;
  /** An on-demand piece that has not come for so long asks for a second origin read. */
  readonly hedgeAfterMs: number;
  /** Part of the origin's bytes that may be hedged, and how many pieces are allowed in any case. */
  readonly hedgeShare: number;
  readonly hedgePieces: number;
  /** After so many failures of one piece a hedge is asked for, after so many more it is read without a lease. */
  readonly hedgeFailures: number;
  readonly unleasedFailures: number;
  /** So much before a reader's deadline the origin is read without a lease, unless the lease holder makes progress. */
  readonly reserveMs: number;
}

export const HUNT_DEFAULTS: HuntParameters = {
  askMs: 100,
  maxAskMs: 700,
  refreshMs: 1_000,
  waitMs: 10_000,
  silentMs: 1_200,
  graceMs: 250,
  stallMs: 750,
  slowMs: 1_000,
  judgeMs: 500,
  leftMs: 1_500,
  unhelpfulMs: 5_000,
  maxUnhelpfulMs: 160_000,
  alternateMinMs: 300,
  alternateMaxMs: 1_500,
  alternateShare: 0.05,
  maxFetches: 64,
  maxLeases: 8,
  maxLoad: 24,
  leaseRun: 4,
  leaseMarginMs: 250,
  progressMs: 500,
  reportMs: 50,
  hedgeAfterMs: 3_000,
  hedgeShare: 0.05,
  hedgePieces: 2,
  hedgeFailures: 3,
  unleasedFailures: 8,
  reserveMs: 1_000,
};
