import { createHash } from 'node:crypto';
import { PIECE_BYTES, pieceAt, pieceSpan } from '../../src/blob/piece.ts';
import type {
  BlobAddress,
  Chunk,
  KnownBlob,
  OpenedRead,
  OpenOptions,
  PieceSink,
  PieceSource,
  SourceName,
} from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { PieceBufferPool } from '../../src/content/piece-buffers.ts';
import type { TestBlob } from './fakes.ts';

const SPOILT = Buffer.alloc(PIECE_BYTES, 0xdd);

/** Knows what is out, and spoils what is given back: whoever still reads or writes it is found out. */
export class SpoilingPool implements PieceBufferPool {
  readonly #out = new Set<Buffer>();
  readonly #free: Buffer[] = [];
  maxOut = 0;

  get out(): number {
    return this.#out.size;
  }

  take(length: number): Buffer {
    const at = this.#free.findIndex((buffer) => buffer.length === length);
    const buffer = this.#free.splice(at, at < 0 ? 0 : 1)[0] ?? Buffer.alloc(length);
    if (isWritten(buffer) && at >= 0) throw new Error('a buffer was written after it was given back');
    this.#out.add(buffer);
    this.maxOut = Math.max(this.maxOut, this.#out.size);
    return buffer;
  }

  give(buffer: Buffer): void {
    if (!this.#out.delete(buffer)) throw new Error('a buffer was given back twice, or is not of this pool');
    SPOILT.copy(buffer, 0, 0, buffer.length);
    this.#free.push(buffer);
  }

  get isSpoilt(): boolean {
    return this.#free.some(isWritten);
  }
}

function isWritten(buffer: Buffer): boolean {
  return buffer.compare(SPOILT, 0, buffer.length) !== 0;
}

/** What the swarm does with one open of one piece. Pieces that wait longest come last, whatever was asked first. */
export interface Fate {
  /** Turns of the loop, or a promise, before the open answers. */
  readonly after?: number | Promise<void>;
  /**
   * verified: from a peer, whole. stream: from the origin, at most to the piece's end. error: none of both; `nobody`: it
   * is the next source's.
   */
  readonly how: 'verified' | 'stream' | 'nobody' | { readonly error: unknown };
  /** A stream is lost after so many bytes. */
  readonly lostAfter?: number;
  /** Of a verified piece: the byte here is another than the blob's, but the digest that is told is of these bytes. */
  readonly lieAt?: number;
}

export interface SwarmOpen {
  readonly piece: number;
  readonly span: Span;
  readonly level: string;
  /** Whether a reader stands still for it, at the time of the look. */
  readonly isAwaited: () => boolean;
  /** How often this piece was opened before. */
  readonly round: number;
}

/** A far source that decides piece by piece, as one with peers does. */
export class FakeSwarm implements PieceSource {
  readonly name = 'peer';
  readonly opens: SwarmOpen[] = [];
  /** Opens that are not answered yet. */
  pending = 0;
  /** The most unanswered at one moment. */
  maxPending = 0;
  /** Answered reads that were not closed yet. */
  open_ = 0;
  /** Bytes of pieces and streams that were delivered. */
  readonly sent: Record<'peer' | 'origin', number> = { peer: 0, origin: 0 };
  /** Opens that were aborted before they were answered. */
  cancelled = 0;
  readonly #blob: TestBlob;
  readonly #pool: PieceBufferPool;
  readonly #fate: (open: SwarmOpen) => Fate;
  readonly #rounds = new Map<number, number>();

  constructor(blob: TestBlob, pool: PieceBufferPool, fate: (open: SwarmOpen) => Fate) {
    this.#blob = blob;
    this.#pool = pool;
    this.#fate = fate;
  }

  async open(address: BlobAddress, span: Span, options: OpenOptions): Promise<OpenedRead | null> {
    options.signal.throwIfAborted();
    if (address.digest !== this.#blob.digest) throw new Error('another blob');
    const piece = pieceAt(span.start);
    const round = this.#rounds.get(piece) ?? 0;
    this.#rounds.set(piece, round + 1);
    const open = {
      piece,
      span,
      level: options.urgency.level,
      isAwaited: () => options.awaited?.isSo ?? true,
      round,
    };
    this.opens.push(open);
    const fate = this.#fate(open);
    this.pending += 1;
    this.maxPending = Math.max(this.maxPending, this.pending);
    try {
      await this.#wait(fate.after ?? 0, options.signal);
    } catch (error) {
      this.cancelled += 1;
      throw error;
    } finally {
      this.pending -= 1;
    }
    if (fate.how === 'nobody') return null;
    if (typeof fate.how === 'object') throw fate.how.error;
    return fate.how === 'verified' ? this.#verified(piece, fate) : this.#stream(span, fate, options.signal);
  }

  #verified(piece: number, { lieAt }: Fate): OpenedRead {
    const span = pieceSpan(piece, this.#blob.size);
    const bytes = this.#pool.take(span.end - span.start);
    this.#blob.bytes.copy(bytes, 0, span.start, span.end);
    if (lieAt !== undefined) bytes[lieAt] = (bytes[lieAt] ?? 0) ^ 0xff;
    this.sent.peer += bytes.length;
    const sha256 = createHash('sha256').update(bytes).digest();
    return this.#opened('peer', span, {
      verified: { index: piece, bytes, sha256 },
      // Whoever takes the piece must not take these as well.
      chunks: [] as unknown as AsyncIterable<Chunk>,
    });
  }

  #stream(asked: Span, fate: Fate, signal: AbortSignal): OpenedRead {
    const span = { start: asked.start, end: pieceSpan(pieceAt(asked.start), this.#blob.size).end };
    const end = Math.min(asked.end, span.end);
    return this.#opened('origin', { ...span, end }, { chunks: this.#chunks({ ...span, end }, fate, signal) });
  }

  #opened(source: SourceName, span: Span, body: Pick<OpenedRead, 'chunks' | 'verified'>): OpenedRead {
    this.open_ += 1;
    let isClosed = false;
    const close = (): void => {
      if (!isClosed) this.open_ -= 1;
      isClosed = true;
    };
    return { info: { size: this.#blob.size, mediaType: undefined }, source, span, close, ...body };
  }

  async *#chunks(span: Span, { lostAfter }: Fate, signal: AbortSignal): AsyncGenerator<Chunk> {
    for (let at = span.start; at < span.end; at += 150_000) {
      await this.#wait(1, signal);
      if (lostAfter !== undefined && at - span.start >= lostAfter) throw new Error('lost');
      const chunk = Buffer.from(this.#blob.bytes.subarray(at, Math.min(at + 150_000, span.end)));
      this.sent.origin += chunk.length;
      yield chunk;
    }
  }

  async #wait(after: number | Promise<void>, signal: AbortSignal): Promise<void> {
    if (typeof after === 'number') {
      for (let turn = 0; turn < after; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      return;
    }
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([after, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** A sink over another that is as slow as a disk, holds the bytes to their digest meanwhile, and counts what it has. */
export class SlowSink implements PieceSink {
  pending = 0;
  maxPending = 0;
  turns = 3;
  hold: Promise<void> | undefined;
  readonly #inner: PieceSink;

  constructor(inner: PieceSink) {
    this.#inner = inner;
  }

  async put(
    blob: KnownBlob,
    piece: number,
    bytes: Uint8Array,
    sha256: Uint8Array,
  ): Promise<'stored' | 'declined'> {
    this.pending += 1;
    this.maxPending = Math.max(this.maxPending, this.pending);
    try {
      await this.hold;
      for (let turn = 0; turn < this.turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      // It throws when the bytes are not, or no longer, those of the digest.
      return await this.#inner.put(blob, piece, bytes, sha256);
    } finally {
      this.pending -= 1;
    }
  }
}
