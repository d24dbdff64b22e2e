import { PIECE_BYTES, pieceAt, pieceCount, pieceSpan } from '../blob/piece.ts';
import { type Chunk, chunkLength, type KnownBlob, type SourceName } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { Urgency } from '../blob/urgency.ts';
import { DamselflyError, hasCode } from '../errors.ts';
import type { ArrivingPiece } from './arriving-piece.ts';
import { collect } from './collect.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Flight } from './flight.ts';
import { type NearRead, openNear } from './near.ts';
import type { ContentParts, ReadContext, ReadShape } from './parts.ts';
import type { Passenger } from './passengers.ts';
import type { Proof } from './proof.ts';
import { aheadPieces, type Reach } from './run-plan.ts';

/** A reader waits this long for a flight to come by; for longer ones it takes the rest of the run over. */
const PATIENCE_MS = 300;
/** Turns without a byte before a reader gives up: flights of others that failed, pieces evicted under it. */
const MAX_FRUITLESS_TURNS = 6;
/** The running hash of a whole blob stays this close behind its reader, so that little is left to do at the end. */
const PROOF_LAG_PIECES = 4;

/**
 * One read of one span, piece by piece: memory, disk, a flight that is on its way, else a flight of its own. Ahead of
 * its position it keeps the next run requested, so that no request's latency makes a gap in the stream.
 */
export class BlobReader {
  readonly #parts: ContentParts;
  readonly #dispatcher: Dispatcher;
  readonly #blob: KnownBlob;
  readonly #span: Span;
  readonly #context: ReadContext;
  readonly #shape: ReadShape;
  readonly #passenger: Passenger;
  readonly #joined = new Set<Flight>();
  readonly #own = new Set<Flight>();
  /** Flights that this reader was the first of: its own, and the one that was its check. */
  readonly #claimed = new Set<Flight>();
  /** The last piece in the metric. */
  #countedPiece = -1;
  #position: number;

  constructor(
    parts: ContentParts,
    dispatcher: Dispatcher,
    blob: KnownBlob,
    span: Span,
    context: ReadContext,
    shape: ReadShape,
  ) {
    this.#parts = parts;
    this.#dispatcher = dispatcher;
    this.#blob = blob;
    this.#span = span;
    this.#context = context;
    this.#shape = shape;
    this.#position = span.start;
    this.#passenger = { upstream: context.upstream, position: span.start };
  }

  /** @throws DamselflyError or OriginRefusal. Leaving the loop early gives everything back. */
  async *chunks(): AsyncGenerator<Chunk, void, void> {
    const { proofs } = this.#dispatcher;
    const leave = this.#dispatcher.enter(this.#blob.digest, this.#context.upstream);
    const proof =
      this.#shape.whole && !this.#parts.catalog.isProven(this.#blob.digest) ? proofs.begin(this.#blob) : null;
    try {
      let fruitless = 0;
      let heldBack = proof !== null;
      while (this.#position < this.#span.end) {
        this.#context.signal.throwIfAborted();
        const piece = pieceAt(this.#position);
        if (heldBack && proof !== null && piece === pieceCount(this.#blob.size) - 1) {
          await this.#prove(proof);
          heldBack = false;
        }
        const before = this.#position;
        yield* this.#nextBytes(piece);
        if (heldBack && proof !== null)
          await proof.catchUp(pieceAt(this.#position) - PROOF_LAG_PIECES, (index) => this.#readPiece(index));
        fruitless = this.#position === before ? fruitless + 1 : 0;
        if (fruitless > MAX_FRUITLESS_TURNS) {
          throw new DamselflyError('internal', 'A piece could not be had from anywhere', {
            facts: { digest: this.#blob.digest, piece },
          });
        }
      }
      if (heldBack && proof !== null) await this.#prove(proof);
    } finally {
      leave();
      for (const flight of this.#joined) flight.leave(this.#passenger);
      if (proof !== null) proofs.end(proof);
    }
  }

  /** As many bytes as one source has in one go; none when a flight failed or was cut and another turn is due. */
  async *#nextBytes(piece: number): AsyncGenerator<Chunk, void, void> {
    const { flights } = this.#dispatcher;
    this.#passenger.position = this.#position;
    const landed = this.#landed(piece);
    if (landed !== undefined) {
      this.#countFlown(landed, piece);
      this.#requestAhead(piece);
      this.#offer(landed.arriving(piece));
      yield* this.#follow(landed, piece);
      return;
    }
    let flight = flights.get(this.#blob.digest, piece);
    if (flight === undefined) {
      const fresh = this.#dispatcher.fresh(this.#blob.digest, piece);
      if (fresh !== undefined) {
        if (this.#reach.kind === 'swarm') this.#requestAhead(piece);
        this.#offer(fresh);
        yield* this.#fresh(fresh);
        return;
      }
      const near = await this.#openNear();
      if (near !== null) {
        // Alone a reader of what is here asks for nothing; in a swarm the gaps ahead are many and slow one by one.
        if (this.#reach.kind === 'swarm') this.#requestAhead(piece);
        yield* this.#near(near);
        return;
      }
      flight = flights.get(this.#blob.digest, piece) ?? this.#start(piece);
    } else if (flight.etaMs(piece) > PATIENCE_MS && flight.cut(piece)) {
      flight = this.#start(piece);
    }
    flight.include({
      start: this.#position,
      end: Math.min(this.#span.end, (piece + 1) * PIECE_BYTES),
    });
    this.#join(flight);
    flight.awaited.begin();
    this.#countFlown(flight, piece);
    this.#requestAhead(piece);
    yield* this.#follow(flight, piece);
    if (
      flight.error !== null &&
      this.#own.has(flight) &&
      pieceAt(this.#position) === piece &&
      this.#position < this.#span.end
    ) {
      throw flight.error;
    }
  }

  /**
   * To the running hash, as the reader comes by: in a swarm pieces complete far out of order, more of them than may wait
   * for the hash, and those that it has declined would be read back from the disk (two of five, when measured).
   */
  #offer(piece: ArrivingPiece | undefined): void {
    if (piece !== undefined) this.#dispatcher.proofs.offer(this.#blob.digest, piece);
  }

  /** A flight of ours that has brought the piece a moment ago and still holds it. */
  #landed(piece: number): Flight | undefined {
    for (const flight of this.#joined) if (flight.arriving(piece)?.isComplete === true) return flight;
    return undefined;
  }

  #openNear(): Promise<NearRead | null> {
    const { upstream, signal } = this.#context;
    const options = { upstream, signal, urgency: new Urgency(this.#context.urgency) };
    const span = { start: this.#position, end: this.#nearEnd() };
    return openNear([this.#parts.memory, this.#parts.disk], this.#blob, span, options);
  }

  /** Near sources give up to a segment; a held-back last piece is not theirs to give. */
  #nearEnd(): number {
    const lastStart = (pieceCount(this.#blob.size) - 1) * PIECE_BYTES;
    return this.#shape.whole && this.#position < lastStart ? lastStart : this.#span.end;
  }

  async *#near({ source, opened }: NearRead): AsyncGenerator<Chunk, void, void> {
    const { span } = opened;
    const [first, last] = [pieceAt(span.start), pieceAt(span.end - 1)];
    this.#parts.metrics.pieces.inc({ found: source }, last - Math.max(first, this.#countedPiece + 1) + 1);
    this.#countedPiece = last;
    try {
      for await (const chunk of opened.chunks) yield this.#handOut(source, chunk);
    } catch (error) {
      // A file that changed or a disk that fell silent in mid-read: the next turn reads on from elsewhere.
      if (!hasCode(error, 'store-corrupt') && !hasCode(error, 'store-unreadable')) throw error;
    } finally {
      opened.close();
    }
  }

  async *#fresh(piece: ArrivingPiece): AsyncGenerator<Chunk, void, void> {
    const base = piece.index * PIECE_BYTES;
    const end = Math.min(this.#span.end - base, piece.length);
    // A view that is out when the consumer leaves may still be on its way to a socket.
    let isLent = true;
    piece.hold();
    try {
      this.#parts.metrics.pieces.inc({ found: 'memory' }, piece.index > this.#countedPiece ? 1 : 0);
      this.#countedPiece = Math.max(this.#countedPiece, piece.index);
      yield this.#handOut('memory', piece.bytes.subarray(this.#position - base, end));
      isLent = false;
    } finally {
      if (isLent) piece.keepForever();
      piece.letGo();
    }
  }

  async *#follow(flight: Flight, piece: number): AsyncGenerator<Chunk, void, void> {
    const base = piece * PIECE_BYTES;
    const end = Math.min(this.#span.end, base + PIECE_BYTES);
    let arriving: ArrivingPiece | undefined;
    // A view that is out when the consumer leaves may still be on its way to a socket.
    let isLent = false;
    try {
      while (this.#position < end) {
        if (arriving === undefined) {
          arriving = flight.arriving(piece);
          arriving?.hold();
        }
        const within = this.#position - base;
        const filled = arriving?.filledFrom(within) ?? within;
        if (arriving !== undefined && filled > within) {
          isLent = true;
          yield this.#handOut(arriving.source, arriving.bytes.subarray(within, Math.min(filled, end - base)));
          isLent = false;
          flight.advance(this.#passenger, this.#position);
          continue;
        }
        if (flight.ended || this.#dispatcher.flights.get(this.#blob.digest, piece) !== flight) return;
        await flight.changed.wait(this.#context.signal);
      }
    } finally {
      if (isLent) arriving?.keepForever();
      arriving?.letGo();
    }
  }

  /** Once a piece, however many turns it takes. */
  #countFlown(flight: Flight, piece: number): void {
    if (piece <= this.#countedPiece) return;
    this.#countedPiece = piece;
    this.#parts.metrics.pieces.inc({ found: this.#claimed.has(flight) ? 'missing' : 'joined' });
  }

  #handOut(source: SourceName, chunk: Chunk): Chunk {
    this.#position += chunkLength(chunk);
    this.#context.onChunk?.(source, chunkLength(chunk));
    return chunk;
  }

  #start(piece: number): Flight {
    const wantedOffset = Math.max(this.#position, piece * PIECE_BYTES);
    const wish = {
      first: piece,
      end: pieceAt(this.#span.end - 1) + 1,
      open: this.#shape.open,
      readPieces: this.#readPieces(),
    };
    const flight = this.#dispatcher.start(this.#blob, wish, wantedOffset, this.#context, {
      wantedEnd: this.#span.end,
    });
    this.#own.add(flight);
    return flight;
  }

  #join(flight: Flight): void {
    if (this.#joined.has(flight)) return;
    for (const past of this.#joined) {
      if (!past.ended || past.plan.run.end > pieceAt(this.#position)) continue;
      past.leave(this.#passenger);
      this.#joined.delete(past);
      this.#claimed.delete(past);
    }
    flight.join(this.#passenger, this.#context.urgency);
    this.#joined.add(flight);
    if (flight.claim()) this.#claimed.add(flight);
  }

  get #reach(): Reach {
    return this.#dispatcher.reach(this.#blob.digest, this.#context.upstream);
  }

  /** The next missing piece within reach is requested before it is needed; in a swarm all of the window, in one turn. */
  #requestAhead(piece: number): void {
    const { digest } = this.#blob;
    const reach = this.#reach;
    const progress = { ...this.#shape, readPieces: this.#readPieces() };
    const ahead = aheadPieces(reach, progress, this.#dispatcher.crowd(digest));
    const end = Math.min(piece + 1 + ahead, pieceAt(this.#span.end - 1) + 1);
    for (let next = piece + 1; next < end; next += 1) {
      const underway = reach.kind === 'swarm' ? this.#dispatcher.flights.get(digest, next) : undefined;
      // Whoever began it may hang up, and this reader's window is not to have holes then.
      if (underway !== undefined) this.#join(underway);
      // What was kept nowhere is still held by the flight that brought it.
      if (!this.#dispatcher.isMissing(digest, next) || this.#landed(next) !== undefined) continue;
      this.#join(this.#start(next));
      if (reach.kind === 'alone') return;
    }
  }

  #readPieces(): number {
    return pieceAt(this.#position) - pieceAt(this.#span.start);
  }

  /** Brings the last piece here, finishes the running hash, and lets the last piece go only when it matched. */
  async #prove(proof: Proof): Promise<void> {
    await this.#dispatcher.proofs.conclude(proof, (piece) => this.#readPiece(piece));
  }

  /** One piece for the hash and not for the client. */
  #readPiece(piece: number): Promise<Uint8Array> {
    const span = pieceSpan(piece, this.#blob.size);
    const context = { ...this.#context, onChunk: undefined };
    const shape = { whole: false, open: false };
    const reader = new BlobReader(this.#parts, this.#dispatcher, this.#blob, span, context, shape);
    return collect({ chunks: reader.chunks() }, span);
  }
}
