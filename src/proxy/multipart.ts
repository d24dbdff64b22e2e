import { randomBytes } from 'node:crypto';
import type { Chunk } from '../blob/source.ts';
import { isFileSlice } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { spanLength } from '../blob/span.ts';
import { contentRange } from './headers.ts';

/** What stands around the parts of one multipart/byteranges answer (RFC 9110 §14.6). */
export interface MultipartFraming {
  /** Value of the answer's Content-Type. */
  readonly contentType: string;
  /** Bytes of the whole body, framing included: the answer's Content-Length. */
  readonly length: number;
  /** What precedes part i: delimiter, part headers and the empty line; from the second on with the CRLF before it. */
  readonly heads: readonly Uint8Array[];
  /** The closing delimiter. */
  readonly tail: Uint8Array;
}

export interface MultipartOptions {
  /** Bytes of the whole blob. */
  readonly size: number;
  /** Content-Type of every part: stargz reads it, so it is never left out. */
  readonly mediaType: string;
  readonly boundary?: string;
}

/** A boundary that no blob was made to contain: 128 random bits, of hex only (a colon would need quotes). */
export function randomBoundary(): string {
  return randomBytes(16).toString('hex');
}

/** One part for every span, in the given order, adjacent and overlapping ones included: podman counts them. */
export function frameMultipart(spans: readonly Span[], options: MultipartOptions): MultipartFraming {
  const boundary = options.boundary ?? randomBoundary();
  const heads = spans.map((span, index) =>
    Buffer.from(
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${options.mediaType}\r\n` +
        `Content-Range: ${contentRange(span, options.size)}\r\n\r\n`,
      'latin1',
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`, 'latin1');
  let length = tail.length;
  for (const head of heads) length += head.length;
  for (const span of spans) length += spanLength(span);
  return { contentType: `multipart/byteranges; boundary=${boundary}`, length, heads, tail };
}

/**
 * The body: every part's framing and then its bytes. A part is opened when its turn comes, and its framing is given out
 * only after its first chunk arrived, so that a first part that cannot be had can still be answered with a status.
 * `return()` closes the part that is open, also while a `next()` is pending, and lets go of a chunk that is held back.
 */
export function multipartBody(
  framing: MultipartFraming,
  spans: readonly Span[],
  open: (span: Span) => AsyncIterable<Chunk>,
): AsyncIterable<Chunk> {
  return { [Symbol.asyncIterator]: () => new MultipartIterator(framing, spans, open) };
}

class MultipartIterator implements AsyncIterator<Chunk> {
  readonly #framing: MultipartFraming;
  readonly #spans: readonly Span[];
  readonly #open: (span: Span) => AsyncIterable<Chunk>;
  #index = 0;
  #part: AsyncIterator<Chunk> | undefined;
  #held: Chunk | undefined;
  #over = false;

  constructor(framing: MultipartFraming, spans: readonly Span[], open: (span: Span) => AsyncIterable<Chunk>) {
    this.#framing = framing;
    this.#spans = spans;
    this.#open = open;
  }

  async next(): Promise<IteratorResult<Chunk>> {
    if (this.#held !== undefined) {
      const value = this.#held;
      this.#held = undefined;
      return { done: false, value };
    }
    while (!this.#over) {
      if (this.#part !== undefined) {
        const result = await this.#part.next();
        if (result.done !== true) return this.#unlessOver(result.value);
        this.#part = undefined;
      }
      const span = this.#spans[this.#index];
      const head = this.#framing.heads[this.#index];
      if (this.#over) break;
      if (span === undefined || head === undefined) {
        this.#over = true;
        return { done: false, value: this.#framing.tail };
      }
      this.#index += 1;
      const part = this.#open(span)[Symbol.asyncIterator]();
      this.#part = part;
      const first = await part.next();
      if (first.done === true) throw new Error('a part of a multipart answer has no bytes');
      const kept = this.#unlessOver(first.value);
      if (kept.done === true) return kept;
      this.#held = first.value;
      return { done: false, value: head };
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Chunk>> {
    this.#over = true;
    if (this.#held !== undefined) letGo(this.#held);
    this.#held = undefined;
    const part = this.#part;
    this.#part = undefined;
    await part?.return?.();
    return { done: true, value: undefined };
  }

  /** A chunk that arrives after `return()` has no taker. */
  #unlessOver(value: Chunk): IteratorResult<Chunk> {
    if (!this.#over) return { done: false, value };
    letGo(value);
    return { done: true, value: undefined };
  }
}

function letGo(chunk: Chunk): void {
  if (isFileSlice(chunk)) chunk.release();
}
