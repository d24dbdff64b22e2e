import { setTimeout as sleep } from 'node:timers/promises';

/** Readers come first: nothing is done in the background for so long after one was given bytes from the disk. */
const QUIET_MS = 20;
/** With readers all the time the work would never end: one step in so long is done in any case. */
const MAX_PUT_OFF_MS = 500;

/** How fast work in the background may use the disk, and when. */
export class Pace {
  readonly #bytesPerSecond: number;
  readonly #lastReadMs: () => number;
  #freeAtMs = performance.now();

  /** @param options.lastReadMs when a reader last used the disk, by `performance.now`. */
  constructor(options: { bytesPerSecond: number; lastReadMs: () => number }) {
    this.#bytesPerSecond = options.bytesPerSecond;
    this.#lastReadMs = options.lastReadMs;
  }

  /** Waits until `bytes` more may be read. @throws the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const begunMs = performance.now();
    for (;;) {
      signal.throwIfAborted();
      const nowMs = performance.now();
      const quietAtMs = Math.min(this.#lastReadMs() + QUIET_MS, begunMs + MAX_PUT_OFF_MS);
      const waitMs = Math.max(this.#freeAtMs, quietAtMs) - nowMs;
      if (waitMs <= 0) break;
      await sleep(Math.max(1, waitMs), undefined, { signal });
    }
    this.#freeAtMs =
      Math.max(this.#freeAtMs, performance.now() - MAX_PUT_OFF_MS) + (bytes / this.#bytesPerSecond) * 1_000;
  }
}
