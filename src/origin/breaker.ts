/** Failures in a row after which nobody but a probe is let through. */
export const BREAKER_THRESHOLD = 5;
/** While open, one request in this time is let through to see whether the origin is back. */
export const PROBE_INTERVAL_MS = 1_000;

/**
 * The circuit breaker of one target. What counts as a failure is the caller's matter: a connection that does not come
 * about and a 5xx head; a 4xx is a success, a stalled body or wrong bytes are neither.
 *
 *   closed ── BREAKER_THRESHOLD failures in a row ──▶ open ── a success ──▶ closed
 */
export class Breaker {
  readonly #now: () => number;
  readonly #onChange: (open: boolean) => void;
  #failures = 0;
  #open = false;
  #nextProbeMs = 0;

  /** @param now milliseconds of a clock that never goes back. */
  constructor(now: () => number, onChange: (open: boolean) => void) {
    this.#now = now;
    this.#onChange = onChange;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @returns whether a request may go now; while open, true makes it the probe. */
  admit(): boolean {
    if (!this.#open) return true;
    const now = this.#now();
    if (now < this.#nextProbeMs) return false;
    this.#nextProbeMs = now + PROBE_INTERVAL_MS;
    return true;
  }

  succeed(): void {
    this.#failures = 0;
    if (!this.#open) return;
    this.#open = false;
    this.#onChange(false);
  }

  fail(): void {
    this.#failures++;
    if (this.#open || this.#failures < BREAKER_THRESHOLD) return;
    this.#open = true;
    this.#nextProbeMs = this.#now() + PROBE_INTERVAL_MS;
    this.#onChange(true);
  }
}
