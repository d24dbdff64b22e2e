import { createHash } from 'node:crypto';
import { Credential } from '../../src/blob/credential.ts';
import { type Digest, parseDigest } from '../../src/blob/digest.ts';
import { PIECE_BYTES, pieceAt, pieceLength, pieceSpan } from '../../src/blob/piece.ts';
import type {
  BlobAddress,
  BlobCatalog,
  BlobInfo,
  Chunk,
  KnownBlob,
  OpenedRead,
  OpenOptions,
  PieceSink,
  PieceSource,
} from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { OriginId, Upstream } from '../../src/blob/upstream.ts';
import { Content } from '../../src/content/content.ts';
import type { ContentParts, MemoryTier } from '../../src/content/parts.ts';
import { DamselflyError } from '../../src/errors.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';

export interface TestBlob extends KnownBlob {
  readonly bytes: Buffer;
}

/** Bytes that differ everywhere, cheaply: a xorshift stream. */
export function testBlob(size: number, seed = 1): TestBlob {
  const bytes = Buffer.alloc(size);
  let state = seed | 1;
  for (let at = 0; at < size; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 0xff;
  }
  const digest = parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
  if (digest === null) throw new Error('unreachable');
  return { digest, size, bytes };
}

export function upstream(authorization?: string): Upstream {
  return {
    origin: 'http://origin.test' as OriginId,
    repository: 'lab/img',
    kind: 'blob',
    credential: Credential.of(authorization),
  };
}

/** What a fake origin does with one open; undefined means answer well. */
export type Script = (request: { index: number; span: Span; upstream: Upstream }) => FakeAnswer | undefined;

export interface FakeAnswer {
  /** Fails the open. */
  readonly error?: unknown;
  /** Throws this after so many body bytes. */
  readonly failAfter?: { readonly bytes: number; readonly error: unknown };
  /** Waits before the head, or before the byte at `holdAt`. */
  readonly hold?: Promise<void>;
  readonly holdAt?: number;
  readonly ignoreRange?: boolean;
  readonly corrupt?: boolean;
}

/** A far source over bytes in memory that logs what it was asked, and whose chunk sizes vary. */
export class FakeOrigin implements PieceSource {
  readonly name = 'origin';
  readonly requests: { span: Span; credential: string; level: string }[] = [];
  bytesSent = 0;
  open_ = 0;
  readonly #blobs: Map<Digest, TestBlob>;
  readonly #script: Script;
  readonly #chunk: () => number;

  constructor(
    blobs: readonly TestBlob[],
    script: Script = () => undefined,
    chunk: () => number = () => 65_536,
  ) {
    this.#blobs = new Map(blobs.map((blob) => [blob.digest, blob]));
    this.#script = script;
    this.#chunk = chunk;
  }

  async open(address: BlobAddress, span: Span, options: OpenOptions): Promise<OpenedRead | null> {
    options.signal.throwIfAborted();
    const index = this.requests.length;
    this.requests.push({
      span,
      credential: options.upstream.credential.secret(),
      level: options.urgency.level,
    });
    const answer = this.#script({ index, span, upstream: options.upstream }) ?? {};
    if (answer.hold !== undefined && answer.holdAt === undefined) await held(answer.hold, options.signal);
    if (answer.error !== undefined) throw answer.error;
    const blob = this.#blobs.get(address.digest);
    if (blob === undefined) return null;
    if (span.start >= blob.size && blob.size > 0) {
      throw new DamselflyError('range-not-satisfiable', 'past the end', { facts: { size: blob.size } });
    }
    const sent =
      answer.ignoreRange === true
        ? { start: 0, end: blob.size }
        : { start: span.start, end: Math.min(span.end, blob.size) };
    this.open_ += 1;
    let closed = false;
    const close = (): void => {
      if (!closed) this.open_ -= 1;
      closed = true;
    };
    return {
      info: { size: blob.size, mediaType: 'application/octet-stream' },
      span: sent,
      chunks: this.#chunks(blob, sent, answer, options.signal, close),
      close,
    };
  }

  async *#chunks(
    blob: TestBlob,
    span: Span,
    answer: FakeAnswer,
    signal: AbortSignal,
    close: () => void,
  ): AsyncGenerator<Chunk> {
    try {
      for (let at = span.start; at < span.end; ) {
        const end = Math.min(at + this.#chunk(), span.end);
        if (answer.hold !== undefined && answer.holdAt !== undefined && end > answer.holdAt)
          await held(answer.hold, signal);
        if (answer.failAfter !== undefined && end - span.start > answer.failAfter.bytes)
          throw answer.failAfter.error;
        await Promise.resolve();
        signal.throwIfAborted();
        const chunk = Buffer.from(blob.bytes.subarray(at, end));
        if (answer.corrupt === true) chunk[0] = (chunk[0] ?? 0) ^ 0xff;
        this.bytesSent += chunk.length;
        yield chunk;
        at = end;
      }
    } finally {
      close();
    }
  }
}

async function held(hold: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  );
  await Promise.race([hold, aborted]);
}

/** A store in a map: sink, catalog and disk source; `keep` decides what it takes. */
export class FakeStore implements BlobCatalog {
  readonly pieces = new Map<Digest, Map<number, Buffer>>();
  readonly infos = new Map<Digest, BlobInfo>();
  readonly proven = new Set<Digest>();
  keep: (piece: number) => boolean | Promise<boolean> = () => true;

  readonly sink = {
    put: async (
      blob: KnownBlob,
      piece: number,
      bytes: Uint8Array,
      sha256: Uint8Array,
    ): Promise<'stored' | 'declined'> => {
      const copy = Buffer.from(bytes);
      if (!createHash('sha256').update(copy).digest().equals(Buffer.from(sha256)))
        throw new Error('the piece and its digest differ');
      if (bytes.length !== pieceLength(piece, blob.size)) throw new Error('not a whole piece');
      const info = this.infos.get(blob.digest);
      if (!(await this.keep(piece))) return 'declined';
      // As the real store: what was dropped while it was written is not kept.
      if (this.infos.get(blob.digest) !== info) return 'declined';
      const pieces = this.pieces.get(blob.digest) ?? new Map<number, Buffer>();
      this.pieces.set(blob.digest, pieces);
      pieces.set(piece, copy);
      return 'stored';
    },
  };

  readonly disk: PieceSource = {
    name: 'disk',
    open: (blob, span) => this.#open(this.pieces.get(blob.digest), blob, span),
  };

  readonly #admitted = new Map<Digest, Map<number, Buffer>>();
  /** `maxBytes`: of each blob, in whole pieces; the oldest goes first. */
  readonly memory: MemoryTier & { maxBytes: number } = {
    name: 'memory',
    maxBytes: PIECE_BYTES,
    hasPiece: (digest, piece) => this.#admitted.get(digest)?.has(piece) === true,
    hasAny: (digest) => this.#admitted.has(digest),
    open: (blob, span) => this.#open(this.#admitted.get(blob.digest), blob, span),
    admit: (digest, _info, piece, bytes, { forced = false } = {}) => {
      if (!forced || this.memory.maxBytes < PIECE_BYTES) return false;
      const pieces = this.#admitted.get(digest) ?? new Map<number, Buffer>();
      this.#admitted.set(digest, pieces);
      pieces.set(piece, Buffer.from(bytes));
      for (const oldest of pieces.keys())
        if (pieces.size * PIECE_BYTES > this.memory.maxBytes) pieces.delete(oldest);
      return true;
    },
  };

  #open(pieces: Map<number, Buffer> | undefined, blob: BlobAddress, span: Span): OpenedRead | null {
    const info = this.infos.get(blob.digest);
    const piece = pieceAt(span.start);
    const bytes = pieces?.get(piece);
    if (info === undefined || bytes === undefined) return null;
    const whole = pieceSpan(piece, info.size);
    const given = { start: span.start, end: Math.min(span.end, whole.end) };
    const chunk = bytes.subarray(given.start - whole.start, given.end - whole.start);
    return { info, span: given, chunks: [chunk] as unknown as AsyncIterable<Chunk>, close: () => undefined };
  }

  describe(digest: Digest): BlobInfo | undefined {
    return this.infos.get(digest);
  }

  record(digest: Digest, info: BlobInfo): boolean {
    const known = this.infos.get(digest);
    if (known === undefined) this.infos.set(digest, info);
    return known === undefined || known.size === info.size;
  }

  hasAny(digest: Digest): boolean {
    return (this.pieces.get(digest)?.size ?? 0) > 0;
  }

  hasPiece(digest: Digest, piece: number): boolean {
    return this.pieces.get(digest)?.has(piece) === true;
  }

  isComplete(digest: Digest): boolean {
    const info = this.infos.get(digest);
    return info !== undefined && (this.pieces.get(digest)?.size ?? 0) === Math.ceil(info.size / PIECE_BYTES);
  }

  isProven(digest: Digest): boolean {
    return this.proven.has(digest);
  }

  markProven(digest: Digest): void {
    this.proven.add(digest);
  }

  drop(digest: Digest): void {
    this.pieces.delete(digest);
    this.infos.delete(digest);
    this.proven.delete(digest);
    this.#admitted.delete(digest);
  }
}

export interface Rig {
  readonly content: Content;
  readonly store: FakeStore;
  readonly origin: FakeOrigin;
  readonly metrics: Metrics;
}

export function rig(
  origin: FakeOrigin,
  options: Partial<
    ContentParts & {
      readonly memoryBytes: number;
      readonly sinkOver: (sink: PieceSink) => PieceSink;
    }
  > = {},
): Rig {
  const { memoryBytes = PIECE_BYTES, sinkOver = (sink: PieceSink) => sink, ...parts } = options;
  const store = new FakeStore();
  store.memory.maxBytes = memoryBytes;
  const metrics = new Metrics();
  const content = new Content({
    memory: store.memory,
    disk: store.disk,
    far: [origin],
    catalog: store,
    log: silentLogger,
    metrics,
    prefetch: 'bounded',
    ...parts,
    sink: sinkOver(parts.sink ?? store.sink),
  });
  return { content, store, origin, metrics };
}

/** Reads to the end, or until `limit` bytes have come; gathers them. */
export async function take(chunks: AsyncIterable<Chunk>, limit = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of chunks) {
    if (!(chunk instanceof Uint8Array)) throw new Error('fakes deliver bytes');
    parts.push(Buffer.from(chunk));
    total += chunk.length;
    if (total >= limit) break;
  }
  return Buffer.concat(parts);
}

/** Lets everything that is ready to run do so. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
