import { setTimeout as sleep } from 'node:timers/promises';
import { Awaited } from '../blob/awaited.ts';
import { PIECE_BYTES, pieceAt, pieceCount, pieceLength } from '../blob/piece.ts';
import type { BlobInfo, OpenedRead, SourceName, VerifiedPiece } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { Urgency, type UrgencyLevel } from '../blob/urgency.ts';
import { DamselflyError, OriginRefusal } from '../errors.ts';
import { ArrivingPiece } from './arriving-piece.ts';
import { CredentialQueue } from './credential-queue.ts';
import { FlightPieces, MAX_KEPT_PIECES } from './flight-pieces.ts';
import type { FlightHead, FlightParts, FlightPlan } from './flight-plan.ts';
import { Notifier } from './notifier.ts';
import { type Passenger, Passengers } from './passengers.ts';

/** A wanted offset this deep in its piece is fetched first and the piece's beginning last. */
const TURN_BYTES = 128 * 1024;
/** So many further pieces are let in when the last reader leaves. */
const SHORT_REMAINDER_PIECES = 4;
/** A reason of its own for each flight would cost a stack trace each. */
const OVER = new DamselflyError('deadline', 'The flight is over');
/** How long a flight that nobody waits for may go on to finish the piece in hand. */
const ORPHAN_MS = 10_000;

/** Completed pieces that one flight may have on their way to the disk. */
const MAX_UNSETTLED_PIECES = 4;
/** How long a flight waits, once, for a reader who is behind. */
const CATCH_UP_MS = 50;
/** With nothing stored, how far a flight may run ahead of its fastest reader. */
const UNSTORED_LEAD_BYTES = 4 * PIECE_BYTES;

/**
 * One read of a run of missing pieces from a far source, shared by everyone on the node who wants them (single
 * flight). It is paced by the disk, not by a reader: completed pieces are settled into the store while the next
 * arrive, at most {@link MAX_UNSETTLED_PIECES} behind. Only when pieces cannot be stored does the fastest reader set the pace.
 *
 * Life: 1. open at the wanted offset, walking the far sources; a refused credential is replaced by the next
 * passenger's; 2. copy chunks into pieces, settling each as it completes; 3. fetch what lies before the wanted offset
 * in the first piece; 4. release what is left. Without passengers it lets a short remainder in and stops. Where nothing
 * would be kept it fetches only what its first reader wants, until somebody else wants more of the same pieces.
 *
 * In a swarm its run is one piece, and 2. is often a whole verified one. It is taken in as soon as the node's backlog has
 * room, never held back for a reader: others in the cluster wait for it.
 *
 * Longer than other files: its position, its end and its pieces change together, and only here.
 */
export class Flight {
  readonly plan: FlightPlan;
  readonly urgency: Urgency;
  /** A reader has come to what it brings. */
  readonly awaited = new Awaited();
  readonly changed = new Notifier();
  /** Resolves when the size is known. */
  readonly head: Promise<FlightHead>;
  /** Whether the origin accepted the credential that the flight was begun with: the opener's own check. */
  readonly opening: Promise<BlobInfo>;
  /** Why it ended before its time; pieces that it did not deliver are nobody's then. */
  error: unknown = null;
  /** True when nothing more will come. */
  ended = false;
  #parts: FlightParts;
  /** Offset in the first piece where the first request begins; what lies before it comes last. */
  readonly #turn: number;
  #exactEnd: number | undefined;
  #end: number;
  #position: number;
  #info: BlobInfo | null = null;
  #source: SourceName = 'origin';
  #unsettled = 0;
  #declined = false;
  #startedMs = 0;
  #received = 0;
  #rangeIgnored = false;
  #orphanTimer: NodeJS.Timeout | null = null;
  readonly #pieces = new FlightPieces();
  #isClaimed = false;
  #isNearing = false;
  #isWaitingForRoom = false;
  #isReaderSlow = false;
  readonly #moved = new Notifier();
  readonly #passengers = new Passengers();
  readonly #credentials: CredentialQueue;
  readonly #abort = new AbortController();
  readonly #headGate = Promise.withResolvers<FlightHead>();
  readonly #openingGate = Promise.withResolvers<BlobInfo>();

  constructor(plan: FlightPlan, parts: FlightParts) {
    this.plan = plan;
    this.#parts = parts;
    this.#end = plan.run.end;
    this.#exactEnd = plan.exactEnd;
    const within = plan.wantedOffset % PIECE_BYTES;
    this.#turn = within > (plan.exactEnd === undefined ? TURN_BYTES : 0) ? within : 0;
    this.#position = plan.run.first * PIECE_BYTES + this.#turn;
    this.urgency = new Urgency(plan.urgency);
    this.#credentials = new CredentialQueue(plan.upstream);
    this.head = this.#headGate.promise;
    this.opening = this.#openingGate.promise;
    // A flight may fail with nobody waiting for its head; its passengers look at `error`.
    this.head.catch(() => undefined);
    this.opening.catch(() => undefined);
  }

  /** Where its bytes come from; 'origin' until one has answered. */
  get source(): SourceName {
    return this.#source;
  }

  /** Milliseconds until `piece` begins to arrive at the rate so far; Infinity while there is no rate yet and it is far. */
  etaMs(piece: number): number {
    const distance = piece * PIECE_BYTES - this.#position;
    if (distance <= 4 * PIECE_BYTES) return 0;
    const elapsed = performance.now() - this.#startedMs;
    if (this.#received === 0 || elapsed <= 0) return Number.POSITIVE_INFINITY;
    return (distance * elapsed) / this.#received;
  }

  /** A piece that arrives, or has arrived a moment ago. */
  arriving(piece: number): ArrivingPiece | undefined {
    return this.#pieces.get(piece);
  }

  join(passenger: Passenger, urgency: UrgencyLevel): void {
    this.#passengers.add(passenger);
    if (passenger.upstream !== null) this.#credentials.add(passenger.upstream);
    if (urgency === 'demand') this.urgency.raise();
    if (this.#orphanTimer !== null) clearTimeout(this.#orphanTimer);
    this.#orphanTimer = null;
    this.#askForRoom();
  }

  /** Somebody wants `span` of a piece on its way: a flight that would not bring it all brings whole pieces from now on. */
  include(span: Span): void {
    this.#askForRoom();
    if (this.#exactEnd === undefined) return;
    if (span.start < this.plan.wantedOffset || span.end > this.#exactEnd) this.#exactEnd = undefined;
  }

  /** @returns true for the first who reads: to that one its pieces were missing, to all others they were on their way. */
  claim(): boolean {
    const isFirst = !this.#isClaimed;
    this.#isClaimed = true;
    return isFirst;
  }

  leave(passenger: Passenger): void {
    const wasLast = this.#passengers.remove(passenger);
    if (this.ended) {
      if (wasLast || (this.#isSingle && !this.#isWanted(this.plan.run.first))) this.#pieces.dropAll();
    } else if (wasLast) this.#orphan();
  }

  /** Gives the pieces from `piece` on to somebody else. False when they already arrive. */
  cut(piece: number): boolean {
    if (piece <= pieceAt(this.#position) || piece <= this.plan.run.first || this.#rangeIgnored) return false;
    for (let index = piece; index < this.#end; index += 1) this.#parts.release(index);
    this.#end = Math.min(this.#end, piece);
    return true;
  }

  abort(reason: unknown): void {
    this.#abort.abort(reason);
  }

  /** Tells the flight that a passenger moved on. */
  advance(passenger: Passenger, position: number): void {
    passenger.position = position;
    if (this.#declined) this.changed.notify();
    if (this.#isNearing) this.#moved.notify();
  }

  /** Never throws: the outcome is in `head`, `opening`, `error` and the pieces. */
  async run(): Promise<void> {
    try {
      await this.#fetchRun();
      await this.#fetchHead();
      while (this.#unsettled > 0) await this.changed.wait(this.#abort.signal);
    } catch (error) {
      this.error = error;
      this.#headGate.reject(error);
      this.#openingGate.reject(error);
    } finally {
      if (this.#orphanTimer !== null) clearTimeout(this.#orphanTimer);
      this.#abort.abort(OVER);
      this.ended = true;
      this.#releaseAll();
      this.changed.notify();
    }
  }

  /** A reader may have come to the piece that waits to be taken in. */
  #askForRoom(): void {
    if (this.#isWaitingForRoom) this.#parts.backlog.stir();
  }

  #orphan(): void {
    if (this.#info === null) {
      this.abort(new DamselflyError('deadline', 'Every reader of this flight has left'));
      return;
    }
    if (this.#rangeIgnored) return;
    // What is left of a short run is mostly on its way already: dropping the connection would waste it.
    const left = this.#end - pieceAt(this.#position) - 1;
    if (left > SHORT_REMAINDER_PIECES || this.#declined) this.cut(pieceAt(this.#position) + 1);
    this.changed.notify();
    this.#orphanTimer ??= setTimeout(
      () => this.abort(new DamselflyError('deadline', 'An orphaned flight took too long')),
      ORPHAN_MS,
    );
  }

  async #fetchRun(): Promise<void> {
    const { run } = this.plan;
    this.#startedMs = performance.now();
    while (this.#info === null || this.#position < this.#runEnd()) {
      let opened: OpenedRead;
      try {
        opened = await this.#open({ start: this.#position, end: this.#runEnd() });
      } catch (error) {
        if (!this.#nextUpstream(error)) throw error;
        continue;
      }
      try {
        this.#learn(opened);
        if (opened.verified !== undefined) await this.#take(opened.verified);
        else await this.#copy(opened, () => this.#runEnd());
      } catch (error) {
        if (!this.#nextUpstream(error)) throw error;
      } finally {
        opened.close();
      }
      if (this.#info !== null && this.#info.size <= run.first * PIECE_BYTES) return;
    }
  }

  /** The part of the first piece before the wanted offset. */
  async #fetchHead(): Promise<void> {
    const { first } = this.plan.run;
    const piece = this.#pieces.get(first);
    if (piece === undefined || piece.isComplete || this.#turn === 0 || this.#exactEnd !== undefined) return;
    let at = first * PIECE_BYTES;
    const end = at + this.#turn;
    while (at < end) {
      try {
        const opened = await this.#open({ start: at, end });
        try {
          if (opened.verified !== undefined) return await this.#take(opened.verified);
          await this.#copyPart(opened, { start: at, end }, (received) => {
            at += received;
          });
        } finally {
          opened.close();
        }
      } catch (error) {
        if (!this.#nextUpstream(error)) throw error;
      }
    }
  }

  async #open(span: Span): Promise<OpenedRead> {
    const { blob } = this.plan;
    const upstream = this.#credentials.current;
    const address = { digest: blob.digest, size: this.#info?.size ?? blob.size };
    const isCheck = this.plan.isCheck && this.#info === null;
    for (const source of this.#parts.sources) {
      const { signal } = this.#abort;
      const { urgency, awaited } = this;
      const opened = await source.open(address, span, { signal, urgency, awaited, upstream, isCheck });
      if (opened === null) continue;
      this.#source = opened.source ?? source.name;
      if (!isCheck || this.#source === 'origin') return opened;
      opened.close();
      throw new DamselflyError('internal', 'A question of rights was answered by another than the origin');
    }
    throw new DamselflyError('origin-unreachable', 'No source has this blob', {
      facts: { digest: blob.digest },
    });
  }

  #learn(opened: OpenedRead): void {
    this.#openingGate.resolve(opened.info);
    if (this.#info !== null) return;
    this.#parts.learn(opened.info);
    this.#info = opened.info;
    const { size } = opened.info;
    for (let index = pieceCount(size); index < this.#end; index += 1) this.#parts.release(index);
    this.#end = Math.min(this.#end, pieceCount(size));
    this.#headGate.resolve({ info: opened.info, source: this.#source });
    const isWider = opened.span.start < this.#position || opened.span.end > this.plan.run.end * PIECE_BYTES;
    if (isWider && opened.verified === undefined) this.#takeAll(opened.span);
    this.changed.notify();
  }

  /** An origin that ignores Range sends the whole blob: every missing piece of it is taken along. */
  #takeAll(span: Span): void {
    this.#parts.ignoresRange();
    this.#rangeIgnored = true;
    this.#exactEnd = undefined;
    const end = pieceAt(span.end - 1) + 1;
    for (let index = pieceAt(span.start); index < end; index += 1) {
      const isPlanned = index >= this.plan.run.first && index < this.#end;
      // It is read no further than there is something for it: others may be reading all of it as well.
      if (!isPlanned && this.#parts.adopt(index)) this.#end = Math.max(this.#end, index + 1);
    }
  }

  /** One whole piece that is here already is taken as it is, neither copied nor hashed again. */
  async #take(verified: VerifiedPiece): Promise<void> {
    const info = this.#info;
    const { index, bytes } = verified;
    const { run } = this.plan;
    if (
      info === null ||
      index < run.first ||
      index >= run.end ||
      bytes.length !== pieceLength(index, info.size)
    )
      throw new DamselflyError('internal', 'A source delivered another piece than it was asked for');
    const { backlog, buffers } = this.#parts;
    const span = { start: index * PIECE_BYTES, end: index * PIECE_BYTES + bytes.length };
    this.#isWaitingForRoom = true;
    await backlog.enter(() => this.#passengers.isAnyIn(span), this.#abort.signal);
    this.#isWaitingForRoom = false;
    let piece = this.#pieces.get(index);
    if (piece === undefined && index < this.#end && this.#parts.adopt(index)) {
      piece = new ArrivingPiece(index, bytes.length, 0, buffers, verified);
      this.#pieces.add(piece);
    } else {
      // Begun by another source, of which a part is handed out already; or nobody's matter any more.
      const isRight = piece === undefined || piece.completeFrom(bytes);
      buffers.give(bytes);
      if (!isRight) {
        backlog.settled();
        throw new DamselflyError('digest-mismatch', 'Two sources gave different bytes of one piece', {
          facts: { digest: this.plan.blob.digest, piece: index },
        });
      }
    }
    if (piece === undefined) backlog.settled();
    else {
      piece.source = this.#source;
      this.#settle(piece, info, { isCounted: true });
    }
    this.#received += bytes.length;
    this.#position = Math.max(this.#position, span.end);
    this.changed.notify();
    if (this.#position < this.#runEnd()) await this.#pace();
  }

  /** A refused credential says nothing about the others who wait; its owner's own question is answered. */
  #nextUpstream(error: unknown): boolean {
    if (!(error instanceof OriginRefusal)) return false;
    this.#openingGate.reject(error);
    return this.#credentials.refuse(() => (this.#passengers.isAnyChecked ? this.#parts.readers() : []));
  }

  /** Blob offset at which the run's own request ends. */
  #runEnd(): number {
    const end = Math.min(this.#end * PIECE_BYTES, this.#exactEnd ?? Number.POSITIVE_INFINITY);
    return this.#info === null ? end : Math.min(end, this.#info.size);
  }

  async #copy(opened: OpenedRead, until: () => number): Promise<void> {
    let offset = opened.span.start;
    if (this.#rangeIgnored && offset < this.#position) this.#position = offset;
    // A later request of a flight that began in mid-piece may be the first whose Range is ignored.
    const from = this.#position;
    for await (const chunk of opened.chunks) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('a far source delivers bytes, not files');
      this.#received += chunk.length;
      const skipped = Math.min(chunk.length, Math.max(0, from - offset));
      let rest = chunk.subarray(skipped);
      offset += skipped;
      while (rest.length > 0 && offset < until()) {
        const part = rest.subarray(0, PIECE_BYTES - (offset % PIECE_BYTES));
        this.#place(offset, part);
        offset += part.length;
        rest = rest.subarray(part.length);
      }
      this.#position = Math.max(this.#position, offset);
      if (offset >= until()) this.#releaseParts();
      this.changed.notify();
      if (offset >= until()) return;
      await this.#pace();
    }
  }

  async #copyPart(opened: OpenedRead, wanted: Span, progress: (bytes: number) => void): Promise<void> {
    let offset = opened.span.start;
    for await (const chunk of opened.chunks) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('a far source delivers bytes, not files');
      const from = Math.max(wanted.start, offset);
      const to = Math.min(wanted.end, offset + chunk.length);
      if (from < to) {
        this.#place(from, chunk.subarray(from - offset, to - offset));
        progress(to - from);
      }
      offset += chunk.length;
      this.changed.notify();
      if (offset >= wanted.end) return;
    }
  }

  /** Puts bytes where they belong; bytes of pieces that are somebody else's, or here already, are dropped. */
  #place(offset: number, bytes: Uint8Array): void {
    const info = this.#info;
    if (info === null) throw new TypeError('bytes before the head');
    const index = pieceAt(offset);
    const within = offset - index * PIECE_BYTES;
    let piece = this.#pieces.get(index);
    if (piece === undefined) {
      const turn = index === this.plan.run.first && !this.#rangeIgnored ? this.#turn : 0;
      // What became nobody's while its beginning passed by is not taken up in its middle.
      if (within !== turn || !this.#parts.adopt(index)) return;
      piece = new ArrivingPiece(index, pieceLength(index, info.size), turn, this.#parts.buffers);
      this.#pieces.add(piece);
    }
    // A request begun again may repeat what is here already.
    const fresh = bytes.subarray(Math.min(bytes.length, piece.filledFrom(within) - within));
    if (fresh.length === 0) return;
    piece.write(within + bytes.length - fresh.length, fresh);
    piece.source = this.#source;
    if (piece.isComplete) this.#settle(piece, info);
  }

  #settle(piece: ArrivingPiece, info: BlobInfo, { isCounted } = { isCounted: false }): void {
    this.#unsettled += 1;
    if (!isCounted) this.#parts.backlog.add();
    // Also when the flight ends meanwhile: the disk may still read the buffer.
    piece.hold();
    const settled = this.#parts.settle(piece, info, piece.source).then(
      (outcome) => {
        this.#declined = outcome === 'declined';
      },
      (error: unknown) => this.abort(error),
    );
    void settled.finally(() => {
      this.#unsettled -= 1;
      this.#parts.backlog.settled();
      piece.letGo();
      this.#pieces.landed(piece.index, this.#isWanted(piece.index));
      this.#parts.release(piece.index);
      this.changed.notify();
    });
  }

  /**
   * Whether a piece that has landed is held for somebody on board. A reader of a swarm has dozens of flights of one
   * piece ahead of it: of those the next few, for the others there is the store, unless it did not take them.
   */
  #isWanted(index: number): boolean {
    const end = (index + 1) * PIECE_BYTES;
    if (!this.#isSingle || this.#declined) return this.#passengers.isAnyBefore(end);
    return this.#passengers.isAnyIn({ start: end - (MAX_KEPT_PIECES + 1) * PIECE_BYTES, end });
  }

  get #isSingle(): boolean {
    return this.plan.run.end - this.plan.run.first === 1 && !this.#rangeIgnored;
  }

  async #pace(): Promise<void> {
    if (this.#unsettled >= MAX_UNSETTLED_PIECES || this.#declined) await this.#wait();
    if (!this.#isSingle) await this.#stayNear();
  }

  /**
   * A reader who can follow is let catch up, so that it is served from what has just landed. One who cannot holds a
   * flight back by {@link CATCH_UP_MS} once, and reads from the store: no client sets the pace of a fill.
   */
  async #stayNear(): Promise<void> {
    if (this.#isReaderSlow) return;
    const untilMs = performance.now() + CATCH_UP_MS;
    while (
      !this.#passengers.isEmpty &&
      this.#position - this.#passengers.fastest > MAX_KEPT_PIECES * PIECE_BYTES
    ) {
      const leftMs = untilMs - performance.now();
      this.#isReaderSlow = leftMs <= 0;
      if (this.#isReaderSlow || this.#abort.signal.aborted) return;
      this.#isNearing = true;
      await Promise.race([this.#moved.wait(this.#abort.signal), sleep(leftMs)]);
      this.#isNearing = false;
    }
  }

  /** Back-pressure: the disk's pace, or with nothing stored the fastest reader's. */
  async #wait(): Promise<void> {
    while (this.#unsettled >= MAX_UNSETTLED_PIECES || this.#isAheadOfReaders())
      await this.changed.wait(this.#abort.signal);
  }

  #isAheadOfReaders(): boolean {
    if (!this.#declined || this.#passengers.isEmpty) return false;
    return this.#position - this.#passengers.fastest > UNSTORED_LEAD_BYTES;
  }

  /** Pieces of which only a part was wanted, and which will not be whole: the next reader does not wait for them. */
  #releaseParts(): void {
    if (this.#exactEnd === undefined) return;
    for (let index = this.plan.run.first; index < this.#end; index += 1)
      if (this.#pieces.get(index)?.isComplete !== true) this.#parts.release(index);
  }

  #releaseAll(): void {
    const first = this.#rangeIgnored ? 0 : this.plan.run.first;
    for (let index = first; index < this.#end; index += 1) this.#parts.release(index);
  }
}
