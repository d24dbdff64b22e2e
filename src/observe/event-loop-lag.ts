import type { Metrics } from './metrics.ts';

const DEFAULT_INTERVAL_MS = 250;

/**
 * Measures how late timers fire: the time that synchronous work holds every request up. Each tick is one observation
 * of the metric and one call of `onLag`.
 */
export class EventLoopLag {
  readonly #metrics: Metrics;
  readonly #onLag: (lagMs: number) => void;
  readonly #intervalMs: number;
  readonly #monotonicMs: () => number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    metrics: Metrics;
    onLag: (lagMs: number) => void;
    intervalMs?: number;
    /** A clock that wall-clock changes do not move. */
    monotonicMs?: () => number;
  }) {
    this.#metrics = options.metrics;
    this.#onLag = options.onLag;
    this.#intervalMs = options.intervalMs ?? DEFAULT_INTERVAL_MS;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
  }

  start(): void {
    if (this.#timer === undefined) this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    const dueMs = this.#monotonicMs() + this.#intervalMs;
    this.#timer = setTimeout(() => {
      const lagMs = Math.max(0, this.#monotonicMs() - dueMs);
      this.#arm();
      this.#metrics.eventLoopLag.observe(lagMs / 1000);
      this.#onLag(lagMs);
    }, this.#intervalMs);
    this.#timer.unref();
  }
}
