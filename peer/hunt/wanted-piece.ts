import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import type { PeerId } from '../member.ts';
import type { FailedHolder } from '../messages.ts';
import type { FetchId, Ticket, WantOptions } from './actions.ts';

export type Why = FailedHolder['why'];

/** Failures told to a planner per piece; the oldest are dropped. */
const MAX_FAILED = 16;

export interface Attempt {
  readonly id: FetchId;
  readonly from: PeerId;
  readonly startedAt: number;
  bytes: number;
  firstByteAt: number | undefined;
  lastByteAt: number;
  lastSignAt: number;
  /** Of the piece. */
  readonly length: number;
}

/** An attempt that was ended since it was slow: whether that was right is seen when the piece comes. */
export interface Forsaken {
  readonly from: PeerId;
  /** When its first byte came, and when it was ended. */
  readonly since: number;
  readonly at: number;
  /** So much longer it would have taken. */
  readonly leftMs: number;
}

/** A piece that somebody here waits for, and what is done to get it. */
export class WantedPiece {
  readonly slot: number;
  /** Since when somebody awaits it. */
  #awaitedAt: number | undefined;
  readonly wantedAt: number;
  readonly tickets = new Map<Ticket, WantOptions>();
  readonly attempts = new Map<FetchId, Attempt>();
  /** Waits for its turn to be fetched from here. */
  queuedFor: PeerId | undefined;
  /** Named by the planner, or by a busy holder, and not tried yet; best first. */
  sources: PeerId[] = [];
  readonly failed = new Map<PeerId, Why>();
  /** Of these, who is named only since it has been unhelpful with other pieces. */
  readonly warned = new Set<PeerId>();
  failures = 0;
  forsaken: Forsaken | undefined;
  /** Answers "busy", or "not yet". */
  busy = 0;
  /** A busy holder that named nobody is asked again then. */
  retryAt: number | undefined;
  /** An open ask covers it: the planner knows that it is waited for. */
  isAsked = false;
  /** To be asked for with the next ask. */
  wantsHedge = false;
  hedgeAskedAt: number | undefined;
  /** When the planner last said, by not granting a hedge, that the piece is on its way. */
  comingAt: number | undefined;

  constructor(slot: number, now: number) {
    this.slot = slot;
    this.wantedAt = now;
  }

  get urgency(): UrgencyLevel {
    for (const { urgency } of this.tickets.values()) if (urgency === 'demand') return 'demand';
    return 'prefetch';
  }

  /** To be called when the tickets have changed. */
  tell(now: number): void {
    if (this.#awaitedAt !== undefined) return;
    for (const { isAwaited } of this.tickets.values()) if (isAwaited !== false) this.#awaitedAt = now;
  }

  /** Undefined while nobody awaits it. */
  get awaitedAt(): number | undefined {
    return this.#awaitedAt;
  }

  get mayLease(): boolean {
    for (const { mayLease } of this.tickets.values()) if (mayLease) return true;
    return false;
  }

  /** The latest of its callers'; undefined when one has none. */
  get deadlineAt(): number | undefined {
    let latest = 0;
    for (const { deadlineAt } of this.tickets.values()) {
      if (deadlineAt === undefined) return undefined;
      latest = Math.max(latest, deadlineAt);
    }
    return latest;
  }

  fail(id: PeerId, why: Why): void {
    // Whoever is busy is there.
    if (why !== 'busy') this.failures += 1;
    this.sources = this.sources.filter((other) => other !== id);
    this.warned.delete(id);
    this.failed.delete(id);
    this.failed.set(id, why);
    if (this.failed.size <= MAX_FAILED) return;
    for (const oldest of this.failed.keys()) {
      this.failed.delete(oldest);
      break;
    }
  }

  /** The last choice, for as long as they are unhelpful. */
  warn(unhelpful: readonly PeerId[]): void {
    for (const id of this.warned) {
      if (unhelpful.includes(id)) continue;
      this.warned.delete(id);
      this.failed.delete(id);
    }
    for (const id of unhelpful) {
      if (this.failed.has(id)) continue;
      this.warned.add(id);
      this.failed.set(id, 'slow');
    }
  }

  isTrying(id: PeerId): boolean {
    for (const { from } of this.attempts.values()) if (from === id) return true;
    return this.queuedFor === id;
  }
}
