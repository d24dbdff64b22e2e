const MS_PER_SECOND = 1000;

/** What may pass in one go after a rest: some time of the rate, at least one large frame. */
const BURST_MS = 100;
const LEAST_BURST_BYTES = 256 * 1024;

/** Holds a rate over all that share it. Who takes may go on after the time it is told, so takers are served in turn. */
export class TokenBucket {
  readonly #bytesPerMs: number;
  readonly #burstBytes: number;
  readonly #now: () => number;
  /** What may still pass; below 0 what has been promised ahead. */
  #level: number;
  #atMs: number;

  /** @param now milliseconds that never go back. */
  constructor(bytesPerSecond: number, now: () => number = () => performance.now()) {
    this.#bytesPerMs = bytesPerSecond / MS_PER_SECOND;
    this.#burstBytes = Math.max(LEAST_BURST_BYTES, this.#bytesPerMs * BURST_MS);
    this.#now = now;
    this.#level = this.#burstBytes;
    this.#atMs = now();
  }

  /** @returns milliseconds to wait before (or after) these bytes; 0 for none. */
  take(bytes: number): number {
    if (this.#bytesPerMs === Number.POSITIVE_INFINITY) return 0;
    const nowMs = this.#now();
    this.#level = Math.min(this.#burstBytes, this.#level + (nowMs - this.#atMs) * this.#bytesPerMs) - bytes;
    this.#atMs = nowMs;
    return this.#level >= 0 ? 0 : -this.#level / this.#bytesPerMs;
  }
}
