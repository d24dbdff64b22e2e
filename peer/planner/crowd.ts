import type { PeerId } from '../member.ts';

/** Who read a blob lately. */
export class Crowd {
  readonly #fadeMs: number;
  /** By the time of their last ask, oldest first. */
  readonly #readers = new Map<PeerId, number>();

  /** @param fadeMs a reader counts for so long after its last ask. */
  constructor(fadeMs: number) {
    this.#fadeMs = fadeMs;
  }

  joined(id: PeerId, now: number): void {
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
}
