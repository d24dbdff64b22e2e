import { LRUCache } from 'lru-cache';
import type { Digest } from '../blob/digest.ts';
import { PIECE_BYTES, pieceAt } from '../blob/piece.ts';
import type { BlobAddress, BlobInfo, Chunk, KnownBlob } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import { withSignal } from './abort.ts';
import { Background } from './background.ts';
import { Dispatcher } from './dispatcher.ts';
import { type FillOptions, fill } from './fill.ts';
import type { ContentParts, ReadContext, ReadShape, WantedBytes } from './parts.ts';
import type { Passenger } from './passengers.ts';
import { ReadAhead } from './read-ahead.ts';
import { BlobReader } from './reader.ts';
import { isBusy, type RunWish } from './run-plan.ts';

/** Blobs whose readers' habits are remembered. */
const MAX_READ_AHEADS = 1024;
/** Background work at once, all blobs together; further wishes are dropped, they are only wishes. */
const MAX_BACKGROUND = 16;

/**
 * The blobs of this node, wherever their bytes are: in memory, on disk, on their way here, or at a far source.
 * Callers have checked the requester's rights; content moves bytes.
 */
export class Content {
  readonly #parts: ContentParts;
  readonly #background = new Background(MAX_BACKGROUND);
  readonly #dispatcher: Dispatcher;
  readonly #readAheads = new LRUCache<Digest, ReadAhead>({ max: MAX_READ_AHEADS });

  constructor(parts: ContentParts) {
    this.#parts = parts;
    this.#dispatcher = new Dispatcher(parts, this.#background);
  }

  describe(digest: Digest): BlobInfo | undefined {
    return this.#parts.catalog.describe(digest);
  }

  /** Whether the byte is on this node or already on its way here. */
  isNear(digest: Digest, offset: number): boolean {
    return !this.#dispatcher.isMissing(digest, pieceAt(offset));
  }

  /** The bytes of a piece that was stored a moment ago, in memory; `release` exactly once, not to be touched afterwards. */
  lendFresh(digest: Digest, piece: number): { readonly bytes: Buffer; release(): void } | undefined {
    const fresh = this.#dispatcher.fresh(digest, piece);
    if (fresh === undefined) return undefined;
    fresh.hold();
    return { bytes: fresh.bytes, release: () => fresh.letGo() };
  }

  /** Whether anything of the blob is on this node, or on its way here. */
  isAnywhere(digest: Digest): boolean {
    const { catalog, memory } = this.#parts;
    return (
      catalog.hasAny(digest) || memory.hasAny(digest) || this.#dispatcher.flights.any(digest) !== undefined
    );
  }

  /** Drops what is known of a blob, and what of it is still on its way into the store. */
  forget(digest: Digest): void {
    if (this.describe(digest) !== undefined) this.#dispatcher.discard(digest);
  }

  /**
   * Takes a blob off the node. Whoever reads or fills it now goes on undisturbed.
   * @returns false when there is somebody; it goes when they have ended.
   */
  remove(digest: Digest): boolean {
    return this.#dispatcher.removals.remove(digest);
  }

  /** All here, and all proven. */
  isFinished(digest: Digest): boolean {
    return this.#parts.catalog.isComplete(digest) && this.#parts.catalog.isProven(digest);
  }

  /**
   * Begins to read at `wanted.start` with the requester's own credential, whose rights are not known yet: the
   * origin's answer is the check. Nothing is handed out. `close` when the verdict is in and the read has begun.
   */
  openAsCheck(
    blob: BlobAddress,
    wanted: WantedBytes,
    context: ReadContext,
  ): { verdict: Promise<BlobInfo>; close(): void } {
    const flight = this.#dispatcher.start(blob, wish(wanted), wanted.start, context, {
      isCheck: true,
      wantedEnd: wanted.end,
    });
    const passenger: Passenger = { upstream: null, position: wanted.start };
    flight.join(passenger, context.urgency);
    return { verdict: flight.opening, close: () => flight.leave(passenger) };
  }

  /**
   * Somebody waits for what is on its way of this blob, and cannot join it before the rights are known that the same
   * requester's earlier read is the question for: a prefetch then no longer waits behind others.
   */
  hurry(digest: Digest): void {
    for (const flight of this.#dispatcher.flights.of(digest)) flight.urgency.raise();
  }

  /**
   * Size and media type, asking a far source where they are not known. What it sends meanwhile is kept for the read:
   * call `close` when the read has begun, or will not.
   */
  async learn(
    blob: BlobAddress,
    wanted: WantedBytes,
    context: ReadContext,
  ): Promise<{ info: BlobInfo; close(): void }> {
    for (let turn = 0; ; turn += 1) {
      const known = this.describe(blob.digest);
      if (known !== undefined) return { info: known, close: () => undefined };
      const joined = this.#dispatcher.flights.any(blob.digest);
      const flight =
        joined ??
        this.#dispatcher.start(blob, wish(wanted), wanted.start, context, {
          wantedEnd: wanted.end,
        });
      const passenger: Passenger = { upstream: context.upstream, position: wanted.start };
      flight.join(passenger, context.urgency);
      try {
        const { info } = await withSignal(flight.head, context.signal);
        return { info, close: () => flight.leave(passenger) };
      } catch (error) {
        flight.leave(passenger);
        // What a flight of somebody else met says nothing about us: the next turn is our own.
        if (joined === undefined || context.signal.aborted || turn > 1) throw error;
      }
    }
  }

  /**
   * The bytes of `span`, from wherever they are. A chunk is the caller's until it asks for the next one, and for ever
   * when it leaves early: then its buffer is not used again.
   * @throws DamselflyError or OriginRefusal; what was handed out before is right.
   */
  read(
    blob: KnownBlob,
    span: Span,
    context: ReadContext,
    shape: ReadShape,
  ): AsyncGenerator<Chunk, void, void> {
    return new BlobReader(this.#parts, this.#dispatcher, blob, span, context, shape).chunks();
  }

  /** Remembers that a client reads `span`, and fetches in the background what it will want next. */
  anticipate(
    blob: KnownBlob,
    span: Span,
    reading: { readonly missed: boolean; readonly hinted: boolean },
    context: ReadContext,
  ): void {
    const { missed, hinted } = reading;
    const { prefetch } = this.#parts;
    if (hinted && prefetch === 'whole') {
      if (this.#dispatcher.keeping.aheadBytes(blob.digest) === Number.POSITIVE_INFINITY)
        this.#prefetch(blob, { start: span.end, end: blob.size }, context, blob.digest, 'disk');
      return;
    }
    const policy = this.#readAheads.get(blob.digest) ?? new ReadAhead();
    this.#readAheads.set(blob.digest, policy);
    const wanted = policy.observe(span, missed, hinted && prefetch === 'bounded');
    if (wanted === null || wanted.start >= blob.size) return;
    if (isBusy(this.#dispatcher.reach(blob.digest, context.upstream), this.#dispatcher.demand)) return;
    const maxEnd = span.end + this.#dispatcher.keeping.aheadBytes(blob.digest);
    // A piece of which not all may be here is none: a part cannot be kept.
    const end = maxEnd < wanted.end ? pieceAt(maxEnd) * PIECE_BYTES : wanted.end;
    const clipped = { start: wanted.start, end: Math.min(end, blob.size) };
    if (clipped.start >= clipped.end) return;
    for (let piece = pieceAt(clipped.start); piece <= pieceAt(clipped.end - 1); piece += 1) {
      if (!this.isNear(blob.digest, piece * PIECE_BYTES)) policy.fetched(piece);
    }
    this.#prefetch(blob, clipped, context, `${blob.digest}@${pieceAt(clipped.start)}`, 'node');
  }

  /** Brings the pieces of `span` onto the disk; resolves when they are there. */
  fill(blob: KnownBlob, span: Span, context: ReadContext, onPiece?: (bytes: number) => void): Promise<void> {
    return fill(this.#parts, this.#dispatcher, blob, span, context, { into: 'disk', onPiece });
  }

  /** Keeps a small blob that arrived whole and matched its digest: a manifest. */
  async keep(
    digest: Digest,
    mediaType: string | undefined,
    bytes: Uint8Array,
    sha256: Uint8Array,
  ): Promise<void> {
    const { catalog, sink, memory } = this.#parts;
    const blob = { digest, size: bytes.length };
    const info = { size: bytes.length, mediaType };
    if (bytes.length === 0 || bytes.length > PIECE_BYTES || !catalog.record(digest, info)) return;
    memory.admit(digest, info, 0, bytes);
    if ((await sink.put(blob, 0, bytes, sha256)) === 'stored') catalog.markProven(digest);
  }

  async close(): Promise<void> {
    const reason = new DamselflyError('shutting-down', 'The node is stopping');
    await Promise.all([this.#background.close(reason), this.#dispatcher.close(reason)]);
  }

  #prefetch(
    blob: KnownBlob,
    span: Span,
    { upstream }: ReadContext,
    key: string,
    into: FillOptions['into'],
  ): void {
    if (span.start >= span.end) return;
    this.#background.run(key, async (signal) => {
      this.#parts.metrics.prefetchTasks.inc();
      try {
        const context = { upstream, urgency: 'prefetch' as const, signal };
        await fill(this.#parts, this.#dispatcher, blob, span, context, { into });
      } catch (error) {
        if (signal.aborted) return;
        this.#parts.metrics.prefetchFailures.inc();
        this.#parts.log.debug({ digest: blob.digest, err: error }, 'a background fill ended early');
      }
    });
  }
}

function wish({ start, end }: WantedBytes): RunWish {
  const first = pieceAt(start);
  if (end === undefined) return { first, end: Number.POSITIVE_INFINITY, open: true, readPieces: 0 };
  return { first, end: pieceAt(end - 1) + 1, open: false, readPieces: 0 };
}
