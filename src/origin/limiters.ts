import type { Urgency } from '../blob/urgency.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Limiter, type LimiterOptions, type Release } from './limiter.ts';

/** One limiter per origin, made when first needed and forgotten when nothing runs or waits. */
export class Limiters {
  readonly #options: LimiterOptions;
  readonly #metrics: Metrics;
  readonly #limiters = new Map<string, Limiter>();

  constructor(options: LimiterOptions, metrics: Metrics) {
    this.#options = options;
    this.#metrics = metrics;
  }

  /** See {@link Limiter.acquire}. */
  async acquire(origin: string, urgency: Urgency, signal: AbortSignal): Promise<Release> {
    let limiter = this.#limiters.get(origin);
    if (limiter === undefined) {
      limiter = new Limiter(this.#options);
      this.#limiters.set(origin, limiter);
    }
    const current = limiter;
    const forgetIdle = (): void => {
      if (current.isIdle && this.#limiters.get(origin) === current) this.#limiters.delete(origin);
    };
    this.#metrics.originQueued.inc();
    try {
      const release = await current.acquire(urgency, signal);
      return () => {
        release();
        forgetIdle();
      };
    } catch (error) {
      forgetIdle();
      throw error;
    } finally {
      this.#metrics.originQueued.dec();
    }
  }
}
