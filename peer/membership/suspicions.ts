import type { PeerId } from '../member.ts';

/** design: a silent planner is suspect for 5 s, and its understudy is asked first. */
export const SUSPICION_MS = 5_000;

/** Members that did not answer this node in time: a short memory of its own, which tells nobody. */
export class Suspicions {
  readonly #untilMs = new Map<PeerId, number>();

  has(id: PeerId, nowMs: number): boolean {
    return (this.#untilMs.get(id) ?? 0) > nowMs;
  }

  add(id: PeerId, nowMs: number): void {
    this.#untilMs.set(id, nowMs + SUSPICION_MS);
  }

  /** @returns whether it was suspect. */
  end(id: PeerId): boolean {
    return this.#untilMs.delete(id);
  }

  /** @returns whether any suspicion ended by its time. */
  expire(nowMs: number): boolean {
    let hasEnded = false;
    for (const [id, untilMs] of this.#untilMs)
      if (untilMs <= nowMs) hasEnded = this.#untilMs.delete(id) || hasEnded;
    return hasEnded;
  }
}
