import type { Span } from '../blob/span.ts';
import { DamselflyError, hasCode } from '../errors.ts';
import { abandoned, type ReplyBody } from './reply.ts';

/** A body that delivered this much since its last loss is getting somewhere. */
const PROGRESS_BYTES = 64 << 10;
/** Losses in a row without progress. */
const MAX_STUCK = 3;
/** Losses in all: this many, and one more per 4 MiB that were asked for. */
const BASE_RESUMES = 8;
const RESUME_PER_BYTES = 4 << 20;

/** A reply's body and where its first byte lies in the blob. */
export interface Positioned {
  readonly body: ReplyBody;
  readonly start: number;
}

export interface BlobBodyOptions {
  /** Exactly these bytes are delivered. */
  readonly span: Span;
  readonly first: Positioned;
  readonly signal: AbortSignal;
  /** Without a byte for so long the connection is dropped and the rest asked for anew. */
  readonly stallMs: number;
  /**
   * Asks for the blob from `offset` on, after a wait that grows with `stuck`, the losses in a row without progress. The
   * answer may start before `offset`, where the origin knows no ranges.
   */
  readonly reopen: (offset: number, stuck: number) => Promise<Positioned>;
  /** Called once when nothing is under way any more. */
  readonly onClose: () => void;
}

/**
 * The bytes of a span, whole and in order whatever happens to connections: a reset, an early end and a stall are
 * resumed at the right offset, a bounded number of times. One consumer; chunks are the network's own buffers.
 */
export class BlobBody implements AsyncIterableIterator<Uint8Array> {
  readonly #options: BlobBodyOptions;
  readonly #maxResumes: number;
  #body: ReplyBody;
  /** Blob offset of the next byte that the current reply delivers. */
  #position: number;
  /** Blob offset of the next byte that the consumer gets. */
  #offset: number;
  #resumes = 0;
  #stuck = 0;
  #progressFrom: number;
  #closed = false;
  readonly #onAbort = (): void => this.close();

  constructor(options: BlobBodyOptions) {
    this.#options = options;
    this.#body = options.first.body;
    this.#position = options.first.start;
    this.#offset = options.span.start;
    this.#progressFrom = this.#offset;
    this.#maxResumes = BASE_RESUMES + Math.ceil((options.span.end - options.span.start) / RESUME_PER_BYTES);
    options.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal.aborted) this.close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    // Most chunks are here already: no turn of the loop for those.
    const chunk = this.#takeAvailable();
    return chunk === undefined ? this.#next() : Promise.resolve({ done: false, value: chunk });
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Drops the connection unless its body is in; may be called at any time and again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    this.#body.destroy(abandoned());
    this.#options.onClose();
  }

  async #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const { span, signal, stallMs } = this.#options;
    try {
      while (!this.#closed && this.#offset < span.end) {
        try {
          const chunk = this.#body.read();
          if (chunk === null) throw lost(this.#offset);
          const wanted = chunk && this.#take(chunk);
          if (wanted !== undefined) return { done: false, value: wanted };
          if (chunk === undefined) await this.#body.wait(stallMs);
        } catch (error) {
          await this.#resume(error);
        }
      }
      if (!this.#closed) await this.#finish();
    } catch (error) {
      this.close();
      signal.throwIfAborted();
      throw error;
    }
    this.close();
    signal.throwIfAborted();
    return { done: true, value: undefined };
  }

  /** A chunk that is here and wanted whole; undefined sends the caller the long way. */
  #takeAvailable(): Uint8Array | undefined {
    if (this.#closed || this.#position !== this.#offset) return undefined;
    const chunk = this.#body.readUpTo(this.#options.span.end - this.#offset);
    return chunk && this.#take(chunk);
  }

  /** The part of a chunk that the consumer has not had, or undefined for none. */
  #take(chunk: Uint8Array): Uint8Array | undefined {
    const from = this.#position;
    this.#position += chunk.length;
    if (this.#position <= this.#offset) return undefined;
    const { end } = this.#options.span;
    if (this.#position > end) throw tooLong(end);
    const wanted = from < this.#offset ? chunk.subarray(this.#offset - from) : chunk;
    this.#offset = this.#position;
    if (this.#offset - this.#progressFrom >= PROGRESS_BYTES) this.#stuck = 0;
    return wanted;
  }

  async #resume(error: unknown): Promise<void> {
    const { signal, reopen } = this.#options;
    signal.throwIfAborted();
    if (isFinal(error)) throw error;
    this.#body.destroy(abandoned());
    this.#resumes++;
    this.#stuck++;
    if (this.#stuck > MAX_STUCK || this.#resumes > this.#maxResumes) throw error;
    this.#progressFrom = this.#offset;
    const next = await reopen(this.#offset, this.#stuck);
    this.#body = next.body;
    this.#position = next.start;
    if (this.#closed) next.body.destroy(abandoned());
  }

  /** All bytes are delivered; what follows them tells a right length from a wrong one, and frees the connection. */
  async #finish(): Promise<void> {
    const { span, stallMs } = this.#options;
    try {
      for (;;) {
        const chunk = this.#body.read();
        if (chunk === null) return;
        if (chunk !== undefined && chunk.length > 0) throw tooLong(span.end);
        await this.#body.wait(stallMs);
      }
    } catch (error) {
      if (isFinal(error)) throw error;
      // Lost or silent after the last byte: nothing is missing.
    }
  }
}

/** A wrong length is the origin's word about the blob; another try would not be told otherwise. */
function isFinal(error: unknown): boolean {
  return hasCode(error, 'origin-broken') && error.facts.permanent === true;
}

function lost(offset: number): DamselflyError {
  return new DamselflyError('origin-broken', 'The origin ended a body early', { facts: { offset } });
}

function tooLong(end: number): DamselflyError {
  return new DamselflyError('origin-broken', 'The origin sent more bytes than it had announced', {
    facts: { end, permanent: true },
  });
}
