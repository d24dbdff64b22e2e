import { PIECE_BYTES } from '../blob/piece.ts';
import type { Span } from '../blob/span.ts';

/** First window past a sequential reader; it doubles with each further sequential read. */
const FIRST_WINDOW_BYTES = 2 * PIECE_BYTES;
const MAX_WINDOW_BYTES = 8 * PIECE_BYTES;
/** A read that starts this near to where another ended continues it: nydusd's threads overtake each other. */
const NEAR_BYTES = PIECE_BYTES;
/** Positions remembered per blob: nydusd's FUSE and prefetch threads each walk their own. */
const MAX_STREAMS = 16;
/** Bytes read ahead and not asked for since: past this a blob's readers are random and get no more. */
const MAX_UNUSED_BYTES = 32 * PIECE_BYTES;
/** Window after a read that said `X-Dragonfly-Prefetch: true` (today's nydusd says it on every read). */
const HINT_WINDOW_BYTES = 4 * PIECE_BYTES;

interface Stream {
  end: number;
  window: number;
}

/**
 * Guesses what one blob's ranged readers want next. Pure: no clock, no I/O.
 * A window opens on the second read in a row, never on the first (one cold read costs its pieces and no more), and
 * closes when what was read ahead is not used.
 */
export class ReadAhead {
  /** Most recently used last. */
  readonly #streams: Stream[] = [];
  /** Read ahead and not yet asked for, as pieces. */
  readonly #unused = new Set<number>();

  /**
   * @param span what is being read now.
   * @param missed it is not all on the node already: who reads what is here needs no help, and a warm image must not
   *   cost the origin anything. Bytes that were read ahead for this reader count as missed.
   * @param hinted the client asked for the rest in so many words.
   * @returns what to fetch in the background, or null. May reach past the blob's end: the caller clips.
   */
  observe(span: Span, missed: boolean, hinted: boolean): Span | null {
    const useful = this.#use(span) || missed;
    const index = this.#streams.findLastIndex(
      (stream) => span.start >= stream.end - NEAR_BYTES && span.start <= stream.end + NEAR_BYTES,
    );
    const stream = this.#streams.splice(index, index < 0 ? 0 : 1)[0];
    const window = stream === undefined ? 0 : nextWindow(stream.window);
    this.#streams.push({ end: Math.max(span.end, stream?.end ?? 0), window });
    if (this.#streams.length > MAX_STREAMS) this.#streams.shift();
    const wanted = Math.max(window, hinted ? HINT_WINDOW_BYTES : 0);
    if (!useful || wanted === 0 || this.#unused.size * PIECE_BYTES >= MAX_UNUSED_BYTES) return null;
    return { start: span.end, end: span.end + wanted };
  }

  /** Tells that a piece was fetched for no reader yet. */
  fetched(piece: number): void {
    this.#unused.add(piece);
  }

  /** @returns whether something that was read ahead is used now. */
  #use(span: Span): boolean {
    const before = this.#unused.size;
    if (before === 0) return false;
    for (let piece = Math.floor(span.start / PIECE_BYTES); piece * PIECE_BYTES < span.end; piece += 1) {
      this.#unused.delete(piece);
    }
    return this.#unused.size < before;
  }
}

function nextWindow(window: number): number {
  return window === 0 ? FIRST_WINDOW_BYTES : Math.min(window * 2, MAX_WINDOW_BYTES);
}
