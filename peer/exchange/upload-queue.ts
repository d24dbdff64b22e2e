import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import type { PeerId } from '../member.ts';

export interface UploadRequest {
  readonly peer: PeerId;
  readonly urgency: UrgencyLevel;
  /** How long it may wait for a slot. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

interface Waiting extends UploadRequest {
  settle(outcome: (() => void) | 'busy'): void;
}

/**
 * Slots for pieces that are being sent. On-demand goes before prefetch, then whoever has fewest slots now, then
 * whoever came first. When too many wait, the last one of whoever has most of them waiting is told `busy`, and a
 * prefetch sooner than an on-demand read.
 */
export class UploadQueue {
  readonly #slots: number;
  readonly #maxQueued: number;
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>();
  readonly #active = new Map<PeerId, number>();
  #used = 0;

  constructor(options: { slots: number; maxQueued: number }) {
    this.#slots = options.slots;
    this.#maxQueued = options.maxQueued;
  }

  get active(): number {
    return this.#used;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * @returns a function that gives the slot back, to be called once; `busy` when there is none in time, or the
   * signal has aborted.
   */
  acquire(request: UploadRequest): Promise<(() => void) | 'busy'> {
    if (request.signal.aborted) return Promise.resolve('busy');
    if (this.#used < this.#slots && this.#waiting.size === 0)
      return Promise.resolve(this.#enter(request.peer));
    return new Promise((resolve) => {
      const waiting: Waiting = {
        ...request,
        settle: (outcome) => {
          if (!this.#waiting.delete(waiting)) return;
          clearTimeout(timer);
          request.signal.removeEventListener('abort', leave);
          resolve(outcome);
        },
      };
      const leave = (): void => waiting.settle('busy');
      const timer = setTimeout(leave, request.waitMs);
      request.signal.addEventListener('abort', leave);
      this.#waiting.add(waiting);
      if (this.#waiting.size > this.#maxQueued) this.#leastDue().settle('busy');
    });
  }

  #enter(peer: PeerId): () => void {
    this.#used += 1;
    this.#active.set(peer, (this.#active.get(peer) ?? 0) + 1);
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      this.#used -= 1;
      const left = (this.#active.get(peer) ?? 1) - 1;
      if (left > 0) this.#active.set(peer, left);
      else this.#active.delete(peer);
      this.#admit();
    };
  }

  #admit(): void {
    while (this.#used < this.#slots) {
      const next = this.#mostDue();
      if (next === undefined) return;
      next.settle(this.#enter(next.peer));
    }
  }

  #mostDue(): Waiting | undefined {
    let best: Waiting | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (const one of this.#waiting) {
      const rank = (one.urgency === 'demand' ? 0 : this.#slots + 1) + (this.#active.get(one.peer) ?? 0);
      if (rank >= bestRank) continue;
      best = one;
      bestRank = rank;
    }
    return best;
  }

  /** Never undefined while anybody waits. */
  #leastDue(): Waiting {
    const counts = new Map<PeerId, number>();
    for (const { peer } of this.#waiting) counts.set(peer, (counts.get(peer) ?? 0) + 1);
    let worst: Waiting | undefined;
    let worstRank = -1;
    for (const one of this.#waiting) {
      const rank = (one.urgency === 'prefetch' ? this.#maxQueued + 1 : 0) + (counts.get(one.peer) ?? 0);
      if (rank < worstRank) continue;
      worst = one;
      worstRank = rank;
    }
    if (worst === undefined) throw new RangeError('nobody waits for an upload slot');
    return worst;
  }
}
