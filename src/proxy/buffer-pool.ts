/** Buffers of one size, lent out and taken back; a few are kept, so that a busy node does not allocate for each read. */
export class BufferPool {
  readonly #bytes: number;
  readonly #maxKept: number;
  readonly #kept: Buffer[] = [];

  constructor(options: { bytes: number; maxKept: number }) {
    this.#bytes = options.bytes;
    this.#maxKept = options.maxKept;
  }

  take(): Buffer {
    return this.#kept.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  give(buffer: Buffer): void {
    if (this.#kept.length < this.#maxKept) this.#kept.push(buffer);
  }
}
