/** How often it is looked whether the loop goes on. */
const TICK_MS = 25;
/** A gap between two looks that is longer was spent in a loop that stood still. */
const ALLOWED_MS = 50;

/**
 * A monotonic clock that does not count the time in which this process's own loop stood still: answers that came meanwhile
 * are still in their sockets, and nobody is to be called silent for them.
 */
export class LoopClock {
  readonly #raw: () => number;
  readonly #timer: NodeJS.Timeout | undefined;
  #lookedAt: number;
  #stalledMs = 0;

  /** @param options.raw monotonic, ms. @param options.isTicking false: the test calls `look`. */
  constructor(options: { raw?: () => number; isTicking?: boolean } = {}) {
    this.#raw = options.raw ?? (() => performance.now());
    this.#lookedAt = this.#raw();
    if (options.isTicking === false) return;
    this.#timer = setInterval(() => this.look(), TICK_MS);
    this.#timer.unref();
  }

  /** Milliseconds, never going back. */
  now(): number {
    const raw = this.#raw();
    return raw - this.#stalledMs - Math.max(0, raw - this.#lookedAt - ALLOWED_MS);
  }

  look(): void {
    const raw = this.#raw();
    this.#stalledMs += Math.max(0, raw - this.#lookedAt - ALLOWED_MS);
    this.#lookedAt = raw;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
