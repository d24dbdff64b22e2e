/** What another node sent is not of the form that it should have; the link that it came by is closed. */
export class MalformedBytes extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'MalformedBytes';
  }
}

const MAX_VARINT_BYTES = 8;

/** Builds a message: whole numbers as LEB128, texts and blocks with their length before them. */
export class ByteWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  /** Bytes so far. */
  get length(): number {
    return this.#length;
  }

  byte(value: number): this {
    return this.raw(Uint8Array.of(value));
  }

  /** @param value a safe whole number, 0 or more. */
  number(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} cannot be written`);
    const bytes: number[] = [];
    let rest = value;
    while (rest >= 0x80) {
      bytes.push((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    bytes.push(rest);
    return this.raw(Uint8Array.from(bytes));
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  block(bytes: Uint8Array): this {
    return this.number(bytes.length).raw(bytes);
  }

  text(value: string): this {
    return this.block(Buffer.from(value));
  }

  done(): Buffer {
    return Buffer.concat(this.#parts, this.#length);
  }
}

/** Takes a message apart. Every method throws {@link MalformedBytes} rather than read past the end or past a bound. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    return this.raw(1)[0] ?? 0;
  }

  number(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i += 1) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > max) throw new MalformedBytes(`a number over ${max}`);
        return value;
      }
      scale *= 0x80;
    }
    throw new MalformedBytes('a number without an end');
  }

  /** A view, not a copy. */
  raw(length: number): Buffer {
    if (length > this.left) throw new MalformedBytes('it ends too early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  block(maxBytes: number): Buffer {
    return this.raw(this.number(maxBytes));
  }

  text(maxBytes: number): string {
    return this.block(maxBytes).toString();
  }

  list<T>(maxItems: number, read: () => T): T[] {
    return Array.from({ length: this.number(maxItems) }, read);
  }
}
