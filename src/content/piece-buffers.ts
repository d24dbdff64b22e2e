import { PIECE_BYTES } from '../blob/piece.ts';

/** Free buffers kept: what a few busy flights have in use. */
const MAX_KEPT_BUFFERS = 16;

/**
 * Buffers of whole pieces, used again. A fresh megabyte per piece costs page faults and makes the collector run for
 * every few dozen (a third of the CPU of a cold read, when measured), and the process grows by what it has not yet
 * collected.
 */
export class PieceBuffers {
  readonly #free: Buffer[] = [];

  /** A shorter piece gets a buffer of its own: it may be kept in memory for long. */
  take(length: number): Buffer {
    if (length !== PIECE_BYTES) return Buffer.allocUnsafeSlow(length);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  /** Only for buffers that nobody reads any more, now or later. */
  give(buffer: Buffer): void {
    if (buffer.length === PIECE_BYTES && this.#free.length < MAX_KEPT_BUFFERS) this.#free.push(buffer);
  }
}
