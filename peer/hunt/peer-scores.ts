import { LRUCache } from 'lru-cache';
import type { PeerId } from '../member.ts';

const WEIGHT = 0.2;
const MAX_PEERS = 1_000;
const HALF_LIFE_MS = 30_000;
/** Before the first answer there is a connection to be made, with a handshake, at the moment when everybody makes one. */
const UNKNOWN_ROUND_TRIP_MS = 400;
const MAX_ROUND_TRIP_MS = 1_000;
/** Holders that are remembered as unhelpful; the oldest are forgotten first. */
const MAX_UNHELPFUL = 8;
/** Pieces that came lately, by which others are judged. */
const MAX_ARRIVALS = 32;
const LATELY_MS = 10_000;
/** Who sends a piece at a tenth of the speed of others is not merely busy. */
const MUCH_FASTER = 10;

interface Score {
  roundTripMs: number | undefined;
  bytesPerMs: number | undefined;
  faults: number;
  faultAt: number;
  /** When bytes of some piece last came from it; -Infinity: never. */
  sentAt: number;
  /** When it last sent a whole piece in good time; -Infinity: never. */
  deliveredAt: number;
}

interface Unhelpful {
  until: number;
  /** How long it was the last choice this time. */
  forMs: number;
  /** It was silent: its first word ends that, once. */
  isSilent: boolean;
  isForgiven: boolean;
}

/** A whole piece that came, `from` undefined: from the origin. */
interface Arrival {
  readonly from: PeerId | undefined;
  readonly beganAt: number;
  readonly at: number;
  readonly tookMs: number;
}

export type Comparison = 'unknown' | 'usual' | 'faster' | 'overtaken' | 'outclassed';

/** A mean and its deviation, moving: how long something usually takes, and at most. */
export class Moving {
  #mean: number | undefined;
  #deviation = 0;

  add(value: number): void {
    if (this.#mean === undefined) {
      this.#mean = value;
      this.#deviation = value / 2;
      return;
    }
    const off = value - this.#mean;
    this.#mean += WEIGHT * off;
    this.#deviation += WEIGHT * (Math.abs(off) - this.#deviation);
  }

  /** Few take longer; undefined while nothing was seen. */
  get most(): number | undefined {
    return this.#mean === undefined ? undefined : this.#mean + 4 * this.#deviation;
  }
}

/** What was seen of each peer: how fast it answers and sends, and how often it failed lately. */
export class PeerScores {
  readonly #scores = new LRUCache<PeerId, Score>({ max: MAX_PEERS });
  readonly #unhelpful = new LRUCache<PeerId, Unhelpful>({ max: MAX_UNHELPFUL });
  /** The latest last. */
  readonly #arrivals: Arrival[] = [];
  /** From a fetch to its first byte, over all peers: pieces that still arrive there included. */
  readonly waits = new Moving();
  /** From a question to its first answer, over all planners: what is usual at the load of now. */
  readonly answers = new Moving();

  /** A question was answered. */
  answered(id: PeerId, ms: number, now: number): void {
    this.answers.add(ms);
    this.heardFrom(id, now);
    const score = this.#score(id);
    score.roundTripMs =
      score.roundTripMs === undefined ? ms : score.roundTripMs + WEIGHT * (ms - score.roundTripMs);
  }

  /** @param isInTime false: it would have come sooner from elsewhere. */
  delivered(id: PeerId, bytes: number, ms: number, now: number, isInTime: boolean): void {
    const score = this.#score(id);
    const rate = bytes / Math.max(ms, 1);
    score.bytesPerMs =
      score.bytesPerMs === undefined ? rate : score.bytesPerMs + WEIGHT * (rate - score.bytesPerMs);
    score.faults /= 2;
    this.arrived(id, now - ms, now);
    if (!isInTime) return;
    score.deliveredAt = now;
    this.#unhelpful.delete(id);
  }

  /** Bytes of some piece came. */
  sends(id: PeerId, now: number): void {
    this.#score(id).sentAt = now;
  }

  /** When bytes of any piece last came from it. */
  sentAt(id: PeerId): number {
    return this.#scores.peek(id)?.sentAt ?? Number.NEGATIVE_INFINITY;
  }

  /** A whole piece came. @param from undefined: the origin. @param beganAt its first byte, or when the origin was asked. */
  arrived(from: PeerId | undefined, beganAt: number, now: number): void {
    this.#arrivals.push({ from, beganAt, at: now, tookMs: now - beganAt });
    if (this.#arrivals.length > MAX_ARRIVALS) this.#arrivals.shift();
  }

  /**
   * What others have shown of one that has been sending a piece since `since`, and would take `wouldTakeMs`.
   * unknown: nothing came from anybody else lately. usual: nothing speaks against it. faster: what came before from others
   * came many times as fast. overtaken: pieces begun later came whole from others. outclassed: and many times as fast,
   * while nothing came whole from this one.
   */
  compared(id: PeerId, since: number, wouldTakeMs: number, now: number): Comparison {
    const others = this.#arrivals.filter(({ from, at }) => from !== id && at >= now - LATELY_MS);
    if (others.length === 0) return 'unknown';
    const isMuchFaster = ({ tookMs }: Arrival): boolean => tookMs * MUCH_FASTER <= wouldTakeMs;
    const later = others.filter(({ beganAt }) => beganAt >= since);
    if (later.length < 2) return others.every(isMuchFaster) ? 'faster' : 'usual';
    const isOutclassed = later.filter(isMuchFaster).length >= 2 && !this.hasDelivered(id, since);
    return isOutclassed ? 'outclassed' : 'overtaken';
  }

  /** Whether a whole piece came from it in good time since then. */
  hasDelivered(id: PeerId, since: number): boolean {
    return (this.#scores.peek(id)?.deliveredAt ?? Number.NEGATIVE_INFINITY) >= since;
  }

  /** It kept readers waiting for nothing. @param forMs twice as long each further time, up to `maxMs`. */
  hasBeenUnhelpful(id: PeerId, now: number, isSilent: boolean, forMs: number, maxMs: number): void {
    const before = this.#unhelpful.get(id);
    // Whatever else was asked of it fails at the same time, for the same reason.
    if (before !== undefined && before.until > now) return;
    const againMs = before === undefined ? forMs : Math.min(2 * before.forMs, maxMs);
    const isForgiven = before?.isForgiven === true;
    this.#unhelpful.set(id, { until: now + againMs, forMs: againMs, isSilent, isForgiven });
  }

  /** It is there (again). Once: who speaks and yet keeps silent when it is asked for pieces is not helped by that. */
  heardFrom(id: PeerId, now: number): void {
    const entry = this.#unhelpful.peek(id);
    if (entry === undefined || !entry.isSilent || entry.isForgiven) return;
    entry.until = Math.min(entry.until, now);
    entry.isForgiven = true;
  }

  isUnhelpful(id: PeerId, now: number): boolean {
    return (this.#unhelpful.peek(id)?.until ?? 0) > now;
  }

  /** Those who kept readers waiting lately, and have delivered nothing since. */
  unhelpful(now: number): PeerId[] {
    return [...this.#unhelpful].flatMap(([id, { until }]) => (until > now ? [id] : []));
  }

  failed(id: PeerId, now: number): void {
    const score = this.#score(id);
    score.faults = this.#decayed(score, now) + 1;
    score.faultAt = now;
  }

  /** Smoothed; undefined before the first answer. */
  measuredRoundTripMs(id: PeerId): number | undefined {
    return this.#scores.peek(id)?.roundTripMs;
  }

  roundTripMs(id: PeerId): number {
    return Math.min(this.#scores.peek(id)?.roundTripMs ?? UNKNOWN_ROUND_TRIP_MS, MAX_ROUND_TRIP_MS);
  }

  bytesPerMs(id: PeerId): number | undefined {
    return this.#scores.peek(id)?.bytesPerMs;
  }

  /** Failures, each counting half after 30 s: less is better. */
  faults(id: PeerId, now: number): number {
    const score = this.#scores.peek(id);
    return score === undefined ? 0 : this.#decayed(score, now);
  }

  #decayed(score: Score, now: number): number {
    return score.faults * 0.5 ** ((now - score.faultAt) / HALF_LIFE_MS);
  }

  #score(id: PeerId): Score {
    let score = this.#scores.get(id);
    if (score === undefined) {
      score = {
        roundTripMs: undefined,
        bytesPerMs: undefined,
        faults: 0,
        faultAt: 0,
        sentAt: Number.NEGATIVE_INFINITY,
        deliveredAt: Number.NEGATIVE_INFINITY,
      };
      this.#scores.set(id, score);
    }
    return score;
  }
}
