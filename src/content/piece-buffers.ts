import { PIECE_BYTES } from '../blob/piece.ts';

/**
 * Free buffers kept while they are used: the window of one reader of a swarm, and what waits for the disk meanwhile.
 * Fewer, and the start of each window would allocate what its end has just thrown away.
 */
const MAX_KEPT_BUFFERS = 64;
/** What was not needed for so long goes: an idle node does not hold what a busy one wants. */
const TRIM_EVERY_MS = 5_000;

/** Buffers for whole pieces; what was taken is given back once, or kept for ever. */
export interface PieceBufferPool {
  take(length: number): Buffer;
  /** Only for buffers that nobody reads or writes any more, now or later. */
  give(buffer: Buffer): void;
}

/**
 * Buffers of whole pieces, used again. A fresh megabyte per piece costs page faults and makes the collector run for
 * every few dozen (a third of the CPU of a cold read, when measured), and the process grows by what it has not yet
 * collected.
 */
export class PieceBuffers implements PieceBufferPool {
  readonly #free: Buffer[] = [];
  /** Free ones that were not taken since the last trim. */
  #leastFree = 0;
  #trimTimer: NodeJS.Timeout | null = null;

  /** Bytes that are free now. */
  get freeBytes(): number {
    return this.#free.length * PIECE_BYTES;
  }

  /** A shorter piece gets a buffer of its own: it may be kept in memory for long. */
  take(length: number): Buffer {
    if (length !== PIECE_BYTES) return Buffer.allocUnsafeSlow(length);
    const buffer = this.#free.pop();
    this.#leastFree = Math.min(this.#leastFree, this.#free.length);
    return buffer ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  give(buffer: Buffer): void {
    if (buffer.length !== PIECE_BYTES || this.#free.length >= MAX_KEPT_BUFFERS) return;
    this.#free.push(buffer);
    this.#trimTimer ??= setTimeout(() => this.#trim(), TRIM_EVERY_MS).unref();
  }

  #trim(): void {
    this.#free.splice(0, this.#leastFree);
    this.#leastFree = this.#free.length;
    this.#trimTimer = this.#free.length === 0 ? null : setTimeout(() => this.#trim(), TRIM_EVERY_MS).unref();
  }
}
