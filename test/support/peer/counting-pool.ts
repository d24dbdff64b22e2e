import type { PieceBufferPool } from '../../../peer/exchange.ts';

/** Knows what is out; marks and keeps what is given back, so that whoever still reads or writes it is found out. */
export class CountingPool implements PieceBufferPool {
  readonly #out = new Set<ArrayBufferLike>();
  readonly #back: Buffer[] = [];
  taken = 0;

  /** Buffers that were taken and not given back. */
  get out(): number {
    return this.#out.size;
  }

  take(length: number): Buffer {
    this.taken += 1;
    const buffer = Buffer.allocUnsafeSlow(length);
    this.#out.add(buffer.buffer);
    return buffer;
  }

  give(buffer: Buffer): void {
    if (!this.#out.delete(buffer.buffer))
      throw new Error('a buffer was given back twice, or is not of this pool');
    buffer.fill(0xdd);
    this.#back.push(buffer);
  }

  /** Whether something was written to a buffer after it had been given back. */
  isSpoilt(): boolean {
    return this.#back.some((buffer) => buffer.some((byte) => byte !== 0xdd));
  }
}
