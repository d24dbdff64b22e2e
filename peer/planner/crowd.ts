import type { PeerId } from '../member.ts';
import { OriginWidth } from './origin-width.ts';

/** Who read a blob lately, and how they read it from the origin. */
export class Crowd {
  readonly width = new OriginWidth();
  readonly #fadeMs: number;
  /** By the time of their last ask, oldest first. */
  readonly #readers = new Map<PeerId, number>();
  #beganAt = 0;

  /** @param fadeMs a reader counts for so long after its last ask. */
  constructor(fadeMs: number) {
    this.#fadeMs = fadeMs;
  }

  joined(id: PeerId, now: number): void {
    if (this.size(now) === 0) this.#beganAt = now;
    this.#readers.delete(id);
    this.#readers.set(id, now);
  }

  size(now: number): number {
    for (const [id, at] of this.#readers) {
      if (now - at < this.#fadeMs) break;
      this.#readers.delete(id);
    }
    return this.#readers.size;
  }

  /** How long somebody has read without a gap. */
  ageMs(now: number): number {
    return now - this.#beganAt;
  }
}
