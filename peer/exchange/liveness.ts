import type { ExchangeLimits } from './limits.ts';

export interface LivenessParts {
  readonly limits: Pick<ExchangeLimits, 'silenceMs' | 'pongMs'>;
  /** Whether anything is expected of the other side. */
  readonly isAwaited: () => boolean;
  /** Whether we are reading what it sends: if not, its silence is ours. */
  readonly isReading: () => boolean;
  readonly ping: () => void;
  /** It does not even answer a ping. */
  readonly onSilent: () => void;
  /** Milliseconds, never going back. */
  readonly now?: () => number;
}

/** Looks now and then whether the other side of a connection is still there, while anything is expected of it. */
export class Liveness {
  readonly #parts: LivenessParts;
  readonly #now: () => number;
  #watch: NodeJS.Timeout | undefined;
  #heardAtMs: number;
  #pingAtMs: number | null = null;
  #isOver = false;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#heardAtMs = this.#now();
  }

  /** Something came. */
  heard(): void {
    this.#heardAtMs = this.#now();
    this.#pingAtMs = null;
  }

  /** When something came last; before anything did, when this began. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /** Asks for a sign of life. */
  ping(): void {
    if (this.#isOver) return;
    this.#pingAtMs ??= this.#now();
    this.#parts.ping();
    this.watch();
  }

  /** Something is expected from here on. */
  watch(): void {
    if (this.#watch !== undefined || this.#isOver) return;
    const { limits, isAwaited, isReading, onSilent } = this.#parts;
    const { silenceMs, pongMs } = limits;
    const startedAtMs = this.#now();
    const everyMs = Math.min(silenceMs, pongMs) / 2;
    this.#watch = setTimeout(() => {
      this.#watch = undefined;
      if (!isAwaited() && this.#pingAtMs === null) return;
      const nowMs = this.#now();
      // This process itself stood still, and what came meanwhile has not been read yet.
      const stoodStill = nowMs - startedAtMs > everyMs * 2;
      if (this.#pingAtMs !== null && stoodStill) this.#pingAtMs = nowMs;
      else if (!isReading()) this.#pingAtMs = null;
      else if (this.#pingAtMs !== null && nowMs - this.#pingAtMs >= pongMs) onSilent();
      else if (this.#pingAtMs === null && nowMs - Math.max(this.#heardAtMs, startedAtMs) >= silenceMs / 2)
        this.ping();
      this.watch();
    }, everyMs);
    this.#watch.unref();
  }

  /** The connection is gone. */
  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#watch);
    this.#watch = undefined;
  }
}
