import { MAX_DATA_BYTES } from './frame.ts';

/** How often at least whoever fetches hears of bytes that come. */
const PROGRESS_MS = 50;

/**
 * Passes on how many bytes of a piece have come: now and then, and not by the record of 16 KiB, since who counts and who listens
 * cost more than what they are told.
 */
export class PieceProgress {
  readonly #count: (bytes: number) => void;
  readonly #tell: (bytes: number) => boolean;
  #untold = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  /**
   * @param on.count hears of all bytes.
   * @param on.tell hears of them while they are wanted. @returns false when it wants no more.
   */
  constructor(on: { count: (bytes: number) => void; tell: (bytes: number) => boolean }) {
    this.#count = on.count;
    this.#tell = on.tell;
  }

  /**
   * @param isLast no more will come.
   * @returns false when nobody wants more.
   */
  came(bytes: number, isLast: boolean, nowMs: number): boolean {
    this.#untold += bytes;
    const isDue = isLast || this.#untold >= MAX_DATA_BYTES || nowMs - this.#toldAtMs >= PROGRESS_MS;
    if (!isDue) return true;
    this.#toldAtMs = nowMs;
    return this.#tell(this.end());
  }

  /** Counts what was not told. @returns how much that is. */
  end(): number {
    const news = this.#untold;
    if (news > 0) this.#count(news);
    this.#untold = 0;
    return news;
  }
}
