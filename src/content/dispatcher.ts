import { LRUCache } from 'lru-cache';
import type { Digest } from '../blob/digest.ts';
import { pieceSpan } from '../blob/piece.ts';
import type { BlobAddress, BlobInfo, KnownBlob } from '../blob/source.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import { DamselflyError, hasCode } from '../errors.ts';
import type { ArrivingPiece } from './arriving-piece.ts';
import type { Background } from './background.ts';
import { Backlog } from './backlog.ts';
import { collect } from './collect.ts';
import { Flight } from './flight.ts';
import { FlightTable } from './flight-table.ts';
import { FreshPieces } from './fresh-pieces.ts';
import { Keeping } from './keeping.ts';
import { openNear } from './near.ts';
import type { ContentParts, ReadContext } from './parts.ts';
import { type PieceBufferPool, PieceBuffers } from './piece-buffers.ts';
import { Proofs } from './proofs.ts';
import { Removals } from './removals.ts';
import { ALONE, type Crowd, planRun, type Reach, type RunWish } from './run-plan.ts';

/** Far more than there are lying origins. */
const MAX_DOUBTS = 10_000;
/** Blobs remembered whose origin ignores Range. */
const MAX_RANGELESS = 1024;

/** Sends flights off and takes care of what they bring: into the store, into the running proof, into the catalog. */
export class Dispatcher {
  readonly flights = new FlightTable();
  readonly proofs: Proofs;
  readonly removals: Removals;
  readonly keeping: Keeping;
  readonly #parts: ContentParts;
  readonly #background: Background;
  readonly #buffers: PieceBufferPool;
  readonly #backlog = new Backlog();
  /** Read in one go, also in a swarm: every request brings all of it. */
  readonly #rangeless = new LRUCache<Digest, true>({ max: MAX_RANGELESS });
  #underwayPieces = 0;
  readonly #fresh = new FreshPieces();
  readonly #running = new Map<Flight, Promise<void>>();
  /** How often a blob's bytes turned out to be wrong; what a flight of before brings is not kept. */
  readonly #doubts = new LRUCache<Digest, number>({ max: MAX_DOUBTS });
  readonly #readers = new Map<Digest, Set<{ readonly upstream: Upstream }>>();

  constructor(parts: ContentParts, background: Background) {
    this.#parts = parts;
    this.#background = background;
    this.#buffers = parts.buffers ?? new PieceBuffers();
    this.removals = new Removals((digest) => parts.catalog.drop(digest));
    this.keeping = new Keeping(parts.memory.maxBytes);
    this.proofs = new Proofs({ ...parts, doubt: (digest) => this.doubt(digest) });
  }

  /** What is under way that somebody waits for. */
  get demand(): { readonly flights: number; readonly pieces: number } {
    let [flights, pieces] = [0, 0];
    for (const { urgency, plan } of this.#running.keys()) {
      if (urgency.level !== 'demand') continue;
      flights += 1;
      pieces += plan.run.end - plan.run.first;
    }
    return { flights, pieces };
  }

  reach(digest: Digest, upstream: Upstream): Reach {
    return this.#rangeless.has(digest) ? ALONE : (this.#parts.reach?.(upstream) ?? ALONE);
  }

  crowd(digest: Digest): Crowd {
    return { underwayPieces: this.#underwayPieces, isKept: this.keeping.isKept(digest) };
  }

  /** A reader whose right was checked begins. @returns call it when the reader ends. */
  enter(digest: Digest, upstream: Upstream): () => void {
    const readers = this.#readers.get(digest) ?? new Set();
    this.#readers.set(digest, readers);
    const reader = { upstream };
    readers.add(reader);
    const leave = this.removals.use(digest);
    return () => {
      leave();
      readers.delete(reader);
      if (readers.size === 0 && this.#readers.get(digest) === readers) this.#readers.delete(digest);
    };
  }

  /** Whether a piece is on this node. */
  has(digest: Digest, piece: number): boolean {
    return this.#parts.catalog.hasPiece(digest, piece) || this.#parts.memory.hasPiece(digest, piece);
  }

  /** A piece in memory since it has just been stored: hold it at once, let it go afterwards. */
  fresh(digest: Digest, piece: number): ArrivingPiece | undefined {
    return this.#parts.catalog.hasPiece(digest, piece) ? this.#fresh.get(digest, piece) : undefined;
  }

  /** Neither on this node nor on its way here. */
  isMissing(digest: Digest, piece: number): boolean {
    return !this.has(digest, piece) && this.flights.get(digest, piece) === undefined;
  }

  /**
   * Starts a flight for the missing pieces of a wish.
   * @param options.isCheck its first answer decides on the rights of `context.upstream`.
   * @param options.wantedEnd blob offset where the reader's interest ends: past it no byte is fetched that nothing here
   *   would keep.
   */
  start(
    blob: BlobAddress,
    wish: RunWish,
    wantedOffset: number,
    context: Pick<ReadContext, 'upstream' | 'urgency'>,
    options: { readonly isCheck?: boolean; readonly wantedEnd?: number | undefined } = {},
  ): Flight {
    const { digest } = blob;
    const { upstream, urgency } = context;
    const { isCheck = false, wantedEnd } = options;
    const exactEnd = wantedEnd !== undefined && this.keeping.passesThrough(digest) ? wantedEnd : undefined;
    const reach = this.reach(digest, upstream);
    const run = planRun(wish, (piece) => this.isMissing(digest, piece), reach);
    const pieces = run.end - run.first;
    const size = blob.size ?? this.#parts.catalog.describe(digest)?.size;
    const doubts = this.#doubts.get(digest);
    const isDoubted = (): boolean => this.#doubts.get(digest) !== doubts;
    const leave = this.removals.use(digest);
    /** Pieces on their way to the disk, which outlive the flight. */
    const settling = new Set<Promise<unknown>>();
    const flight = new Flight(
      { blob: { digest, size }, run, wantedOffset, exactEnd, upstream, urgency, isCheck },
      {
        sources: this.#parts.far,
        buffers: this.#buffers,
        backlog: this.#backlog,
        settle: async (piece, info) => {
          if (isDoubted()) return 'declined';
          const work = this.#settle({ digest, size: info.size }, piece, info, upstream, isDoubted);
          settling.add(work);
          return await work.finally(() => settling.delete(work));
        },
        learn: (info) => this.#record(digest, info),
        ignoresRange: () => this.#rangeless.set(digest, true),
        release: (piece) => this.flights.release(digest, piece, flight),
        adopt: (piece) =>
          !isDoubted() &&
          (this.flights.get(digest, piece) === flight ||
            (!this.has(digest, piece) && this.flights.claim(digest, piece, flight))),
        readers: () => [...(this.#readers.get(digest) ?? [])].map((reader) => reader.upstream),
      },
    );
    for (let piece = run.first; piece < run.end; piece += 1) this.flights.claim(digest, piece, flight);
    this.#underwayPieces += pieces;
    const done = flight.run().finally(() => {
      this.#underwayPieces -= pieces;
      this.#running.delete(flight);
      this.#judge(digest, flight.error);
      void Promise.allSettled(settling).then(leave);
    });
    this.#running.set(flight, done);
    return flight;
  }

  async close(reason: unknown): Promise<void> {
    for (const flight of this.#running.keys()) flight.abort(reason);
    await Promise.all(this.#running.values());
    this.#fresh.clear();
  }

  /** The bytes or the size of a blob are wrong: whoever vouched for them is to hear of it, and all of it goes. */
  doubt(digest: Digest): void {
    const size = this.#parts.catalog.describe(digest)?.size;
    if (size !== undefined) this.#parts.doubted?.({ digest, size });
    this.discard(digest);
  }

  /**
   * What is here of a blob is dropped, and so is whatever flights of before still bring,
   * also what is on its way to the disk at this moment. The next read begins afresh.
   */
  discard(digest: Digest): void {
    this.#doubts.set(digest, (this.#doubts.get(digest) ?? 0) + 1);
    const reason = new DamselflyError('digest-mismatch', `The bytes that arrived for ${digest} are wrong`, {
      facts: { digest },
    });
    for (const flight of this.#running.keys()) if (flight.plan.blob.digest === digest) flight.abort(reason);
    this.flights.forget(digest);
    this.#parts.catalog.drop(digest);
  }

  /** The origin contradicted the size that is known: unless that one is proven, the next read begins afresh. */
  #judge(digest: Digest, error: unknown): void {
    const { catalog } = this.#parts;
    if (!hasCode(error, 'origin-broken') || error.facts.before === undefined) return;
    if (catalog.describe(digest)?.size === error.facts.before && !catalog.isProven(digest))
      this.doubt(digest);
  }

  #record(digest: Digest, info: BlobInfo): void {
    const { catalog } = this.#parts;
    if (catalog.record(digest, info)) return;
    // Two sizes for one digest: one of them is a lie. An unproven one gives way to a fresh start, a proven one stands.
    const proven = catalog.isProven(digest);
    if (!proven) this.doubt(digest);
    throw new DamselflyError('origin-broken', `The origin gives another size for ${digest} than before`, {
      facts: { digest, size: info.size, proven },
    });
  }

  async #settle(
    blob: KnownBlob,
    piece: ArrivingPiece,
    info: BlobInfo,
    upstream: Upstream,
    isDoubted: () => boolean,
  ): Promise<'stored' | 'declined'> {
    const { sink, memory, catalog } = this.#parts;
    this.proofs.offer(blob.digest, piece);
    const sha256 = await piece.sha256();
    // Nothing is awaited between this look and the store's own: what it has begun, a drop makes it give up.
    const outcome = isDoubted() ? 'declined' : await sink.put(blob, piece.index, piece.bytes, sha256);
    if (isDoubted()) {
      piece.keepForever();
      return 'declined';
    }
    // A disk that is late may still read the buffer, and the memory tier keeps it.
    const isAdmitted = memory.admit(blob.digest, info, piece.index, piece.bytes, {
      forced: outcome === 'declined',
    });
    if (outcome === 'declined' || isAdmitted) piece.keepForever();
    const reach = this.reach(blob.digest, upstream);
    // What was fresh of it before may be another piece: one that was dropped since.
    if (outcome === 'stored' && reach.kind === 'swarm')
      this.#fresh.add(blob.digest, piece, reach.freshPieces);
    else this.#fresh.remove(blob.digest, piece.index);
    this.keeping.note(blob.digest, outcome === 'stored' ? 'disk' : isAdmitted ? 'memory' : 'nowhere');
    if (outcome === 'stored' && catalog.isComplete(blob.digest) && !catalog.isProven(blob.digest))
      this.#proveQuietly(blob, upstream);
    return outcome;
  }

  /** A blob that lazy reads completed: its digest is checked when nobody waits for it. */
  #proveQuietly(blob: KnownBlob, upstream: Upstream): void {
    if (this.proofs.isActive(blob.digest)) return;
    this.#background.run(`prove ${blob.digest}`, async (signal) => {
      const proof = this.proofs.begin(blob);
      const options = { signal, urgency: new Urgency('prefetch'), upstream };
      try {
        await this.proofs.conclude(proof, async (piece) => {
          const span = pieceSpan(piece, blob.size);
          const near = await openNear([this.#parts.memory, this.#parts.disk], blob, span, options);
          if (near === null)
            throw new DamselflyError('store-corrupt', 'A piece left the store before its blob was proven');
          return collect(near.opened, span);
        });
      } catch (error) {
        if (!hasCode(error, 'digest-mismatch'))
          this.#parts.log.debug({ digest: blob.digest, err: error }, 'a blob was not proven');
      } finally {
        this.proofs.end(proof);
      }
    });
  }
}
