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

interface Score {
  roundTripMs: number | undefined;
  bytesPerMs: number | undefined;
  faults: number;
  faultAt: number;
}

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
  /** Until when. */
  readonly #unhelpful = new LRUCache<PeerId, number>({ max: MAX_UNHELPFUL });
  /** From a fetch to its first byte, over all peers: pieces that still arrive there included. */
  readonly waits = new Moving();
  /** From a question to its first answer, over all planners: what is usual at the load of now. */
  readonly answers = new Moving();

  /** A question was answered. */
  answered(id: PeerId, ms: number): void {
    this.answers.add(ms);
    const score = this.#score(id);
    score.roundTripMs =
      score.roundTripMs === undefined ? ms : score.roundTripMs + WEIGHT * (ms - score.roundTripMs);
  }

  delivered(id: PeerId, bytes: number, ms: number): void {
    const score = this.#score(id);
    const rate = bytes / Math.max(ms, 1);
    score.bytesPerMs =
      score.bytesPerMs === undefined ? rate : score.bytesPerMs + WEIGHT * (rate - score.bytesPerMs);
    score.faults /= 2;
    this.#unhelpful.delete(id);
  }

  /** It kept a reader waiting for nothing. @param until on the clock. */
  hasBeenUnhelpful(id: PeerId, until: number): void {
    this.#unhelpful.set(id, until);
  }

  /** Those who did so lately, and have delivered nothing since. */
  unhelpful(now: number): PeerId[] {
    return [...this.#unhelpful].flatMap(([id, until]) => (until > now ? [id] : []));
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
      score = { roundTripMs: undefined, bytesPerMs: undefined, faults: 0, faultAt: 0 };
      this.#scores.set(id, score);
    }
    return score;
  }
}
