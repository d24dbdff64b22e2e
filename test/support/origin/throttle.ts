import { setTimeout as sleep } from 'node:timers/promises';

/** A bandwidth cap that everything on it shares: the bytes of all takers leave at `bytesPerSecond` in total. */
export class Throttle {
  #bytesPerSecond: number;
  /** When the line is free again, in the clock of performance.now(). */
  #freeAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  set bytesPerSecond(value: number) {
    this.#bytesPerSecond = value;
    this.#freeAtMs = 0;
  }

  /** How much to send in one go so that the pace is even: about 5 ms of the line, between 1 byte and 256 KiB. */
  get stepBytes(): number {
    return Math.max(1, Math.min(256 * 1024, Math.floor(this.#bytesPerSecond / 200)));
  }

  /** Waits for the turn of `bytes`. Up to 5 ms of unused line may be made up for, since timers are that coarse. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (!Number.isFinite(this.#bytesPerSecond)) return;
    const now = performance.now();
    const startsAtMs = Math.max(this.#freeAtMs, now - 5);
    this.#freeAtMs = startsAtMs + (bytes * 1000) / this.#bytesPerSecond;
    const waitMs = this.#freeAtMs - now;
    if (waitMs > 1) await sleep(waitMs, undefined, { signal });
  }
}
