/** A gap between two ticks (250 ms apart) that is longer was spent stopped, or without a processor. */
const STALL_MS = 2_000;

/**
 * A monotonic clock that does not count the time in which this process itself stood still. Else a node that was stopped for a minute
 * would wake up and believe that everybody else had been silent for that minute.
 */
export class AwakeClock {
  readonly #now: () => number;
  #stalledMs = 0;
  #tickMs: number;

  /** @param now monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now;
    this.#tickMs = now();
  }

  now(): number {
    return this.#now() - this.#stalledMs;
  }

  /** To be called some times a second. */
  tick(): void {
    const nowMs = this.#now();
    const gapMs = nowMs - this.#tickMs;
    this.#tickMs = nowMs;
    if (gapMs > STALL_MS) this.#stalledMs += gapMs;
  }
}
