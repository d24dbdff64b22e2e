import { DamselflyError } from '../../src/errors.ts';

/** What a member sent is not what it should be. */
export function broken(what: string, cause?: unknown): DamselflyError {
  return new DamselflyError('peer-broken', `the other side broke the protocol: ${what}`, { cause });
}

const FIRST_BYTES = 256;
const TWO_TO_32 = 2 ** 32;

/** Appends numbers (big-endian), texts and bytes to a buffer that grows. */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#room(1);
    this.#length = this.#bytes.writeUInt8(value, this.#length);
    return this;
  }

  u16(value: number): this {
    this.#room(2);
    this.#length = this.#bytes.writeUInt16BE(value, this.#length);
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.#length = this.#bytes.writeUInt32BE(value, this.#length);
    return this;
  }

  /** A safe integer from 0. */
  u53(value: number): this {
    return this.u32(Math.floor(value / TWO_TO_32)).u32(value % TWO_TO_32);
  }

  /** ASCII of at most 255 characters, its length before it. */
  text(value: string): this {
    this.u8(value.length).#room(value.length);
    this.#length += this.#bytes.write(value, this.#length, 'latin1');
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #room(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** Reads what a {@link ByteWriter} wrote, out of bytes that anybody may have sent. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  u53(): number {
    const value = this.u32() * TWO_TO_32 + this.u32();
    if (!Number.isSafeInteger(value)) throw broken('a number is too large');
    return value;
  }

  text(): string {
    const length = this.u8();
    const start = this.#take(length);
    return this.#bytes.toString('latin1', start, start + length);
  }

  /** A copy: what it came in is used again. */
  bytes(length: number): Buffer {
    const start = this.#take(length);
    return Buffer.from(this.#bytes.subarray(start, start + length));
  }

  /** @throws DamselflyError `peer-broken` when anything is left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw broken('a frame is longer than what is in it');
  }

  #take(length: number): number {
    const start = this.#at;
    if (start + length > this.#bytes.length) throw broken('a frame is shorter than what should be in it');
    this.#at = start + length;
    return start;
  }
}
