/** A piece that took less leaves room on the origin's line for another beside it. */
const SHORT_MS = 200;
/** One that took more shared the line with too many. */
const LONG_MS = 600;
/** Fewer would wait for each other: measured by test/bench/simulate. */
const LEAST = 4;
const MOST = 16;
/** Reads that agree before one more, or one less, is under way. */
const WIDEN = 1 / 4;
const NARROW = 1 / 2;

/**
 * How many pieces of one segment a crowd reads from the origin at once. Readers in order wait for the first of them, and
 * many at once share the origin's line and come late all together; few at once leave a fast origin idle. So it follows
 * from how long reads take.
 */
export class OriginWidth {
  #width = LEAST;

  /** Pieces, from 4 to 16. */
  get pieces(): number {
    return Math.floor(this.#width);
  }

  /** @param tookMs from the lease to the reader's word that it has the piece. */
  took(tookMs: number): void {
    if (tookMs < SHORT_MS) this.#width = Math.min(MOST, this.#width + WIDEN);
    else if (tookMs > LONG_MS) this.#width = Math.max(LEAST, this.#width - NARROW);
  }
}
