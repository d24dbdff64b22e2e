import { PIECE_BYTES, pieceAt, SEGMENT_PIECES } from '../blob/piece.ts';
import type { BlobInfo, Chunk, FileSlice, OpenedRead } from '../blob/source.ts';
import { isFileSlice } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import { TooLate, within } from './deadline.ts';
import { type DiskLayer, errorCode, readFully } from './disk-layer.ts';
import type { Gate } from './gate.ts';
import type { DiskHealth } from './health.ts';
import type { OpenFile } from './open-file.ts';
import type { OpenFiles } from './open-files.ts';
import type { Residency } from './residency.ts';
import type { Segment } from './segment.ts';
import type { Verifier } from './verifier.ts';

/** Longest stretch that leaves as one slice: sendfile gives the loop back in between anyway. */
const MAX_SLICE_BYTES = 4 * PIECE_BYTES;

/** A piece that takes more than this share of its deadline makes its disk a slow one. */
export const SLOW_SHARE = 2 / 3;

/** Checks of one piece whose file keeps changing under them, before it counts as not here. */
const MAX_LOOKS = 3;

export interface DiskReadParts {
  readonly disk: DiskLayer;
  readonly files: OpenFiles;
  readonly verifier: Verifier;
  readonly residency: Residency;
  readonly health: DiskHealth;
  /** Bounds the reads under way. */
  readonly gate: Gate;
  readonly timeoutMs: number;
  readonly log: Logger;
  /** The disk is being read. */
  readonly busy: () => void;
}

/** The part of a segment that one reader asked for. Its pin keeps the segment from being evicted until it is done. */
export class DiskRead implements OpenedRead, AsyncIterator<Chunk, undefined> {
  readonly info: BlobInfo;
  readonly span: Span;
  readonly #parts: DiskReadParts;
  readonly #segment: Segment;
  readonly #signal: AbortSignal;
  readonly #wantsMore: boolean;
  #position: number;
  /** The next chunk, read ahead of its being asked for. */
  #ahead: Promise<Chunk | null> | null = null;
  #done = false;

  /** @param wantsMore the reader asked for bytes beyond `span`. */
  constructor(parts: DiskReadParts, segment: Segment, span: Span, wantsMore: boolean, signal: AbortSignal) {
    this.#parts = parts;
    this.#wantsMore = wantsMore;
    this.#segment = segment;
    this.#signal = signal;
    this.#position = span.start;
    this.info = segment.blob.info;
    this.span = span;
    segment.pins += 1;
  }

  get chunks(): AsyncIterable<Chunk> {
    return this;
  }

  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined> {
    return this;
  }

  /**
   * Gets the first chunk from the disk.
   * @returns false when its piece turned out to be lost or the disk to be in trouble: nothing was opened then.
   * @throws the signal's reason.
   */
  async prime(): Promise<boolean> {
    try {
      const first = await this.#next();
      if (first === null) {
        this.close();
        return false;
      }
      this.#ahead = Promise.resolve(first);
      this.#verifyNext();
      return true;
    } catch (error) {
      this.close();
      if (this.#signal.aborted) throw error;
      if (!(error instanceof DamselflyError))
        this.#parts.log.error({ err: error }, 'a cached piece could not be read');
      return false;
    }
  }

  async next(): Promise<IteratorResult<Chunk, undefined>> {
    if (this.#done) return { done: true, value: undefined };
    try {
      this.#signal.throwIfAborted();
      const ahead = this.#ahead;
      this.#ahead = null;
      const chunk = ahead === null ? await this.#next() : await this.#awaited(ahead);
      if (chunk === null) throw lost(this.#segment);
      this.#position += chunk.length;
      if (this.#position >= this.span.end) this.#finish();
      else if (!isFileSlice(chunk)) this.#readAhead();
      return { done: false, value: chunk };
    } catch (error) {
      this.close();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<Chunk, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  close(): void {
    if (this.#done) return;
    this.#finish();
    const ahead = this.#ahead;
    this.#ahead = null;
    if (ahead !== null) giveBack(ahead);
  }

  #finish(): void {
    this.#done = true;
    this.#segment.pins -= 1;
  }

  /**
   * The piece behind this read is what its reader will most likely open next. When the file is at rest, checking it now
   * makes that open a warm one.
   */
  #verifyNext(): void {
    const segment = this.#segment;
    const { end } = this.span;
    const slot = pieceAt(end) % SEGMENT_PIECES;
    const isWanted = this.#wantsMore && end % PIECE_BYTES === 0 && slot !== 0 && segment.has(slot);
    const isAtRest = (segment.verified & (1 << (slot - 1))) !== 0;
    if (!isWanted || !isAtRest || (segment.verified & (1 << slot)) !== 0 || this.#parts.gate.isFull) return;
    this.#parts.verifier.read(segment, slot, segment.pieceLength(slot)).catch(() => undefined);
  }

  /** While the client takes one buffer the next one is read; slices need none of that. */
  #readAhead(): void {
    if (this.#parts.health.faultIn('read') !== null) return;
    const work = this.#load(this.#position);
    // Its failure is told when it is this chunk's turn, or to nobody.
    work.catch(() => undefined);
    this.#ahead = work;
  }

  async #next(): Promise<Chunk | null> {
    const warm = this.#warmSlice();
    return warm ?? (await this.#awaited(this.#load(this.#position)));
  }

  /** Waits for a chunk within the deadline. If nobody waits any more, a slice that still comes is given back. */
  async #awaited(work: Promise<Chunk | null>): Promise<Chunk | null> {
    const { health, timeoutMs } = this.#parts;
    const beganMs = performance.now();
    try {
      const chunk = await within(work, timeoutMs, this.#signal);
      // A read of several pieces, each of them nearly too late, would be far too late as a whole.
      if (performance.now() - beganMs > timeoutMs * SLOW_SHARE) health.failed('read', 'disk-slow');
      else health.succeeded('read');
      return chunk;
    } catch (error) {
      giveBack(work);
      if (this.#signal.aborted) throw error;
      if (error instanceof TooLate) {
        this.#parts.health.failed('read', 'disk-slow');
        throw unreadable(this.#segment, 'disk-slow', error);
      }
      const code = errorCode(error);
      if (code === '') throw error;
      if (code === 'EMFILE' || code === 'ENFILE') this.#parts.files.trim(0);
      throw unreadable(this.#segment, code, error);
    }
  }

  #warmSlice(): FileSlice | null {
    const { file } = this.#segment;
    if (file === null) return null;
    const end = this.#warmEnd(file, this.#position);
    return end > this.#position ? sliceOf(file, this.#segment, this.#position, end) : null;
  }

  /** Up to where the bytes from `position` on are trusted (fstat right now) and in the page cache. */
  #warmEnd(file: OpenFile, position: number): number {
    const trusted = this.#parts.verifier.trusted(this.#segment, file) & this.#segment.present;
    const limit = Math.min(this.span.end, position + MAX_SLICE_BYTES);
    let end = position;
    while (end < limit) {
      const piece = pieceAt(end);
      const slot = piece % SEGMENT_PIECES;
      if ((trusted & (1 << slot)) === 0 || !this.#parts.residency.has(this.#segment, slot)) break;
      end = Math.min(limit, (piece + 1) * PIECE_BYTES);
    }
    return end;
  }

  /** @returns the chunk at `position`, or null when its piece is lost. Slices are preferred, then the part, then the piece. */
  async #load(position: number): Promise<Chunk | null> {
    const segment = this.#segment;
    const piece = pieceAt(position);
    const slot = piece % SEGMENT_PIECES;
    const pieceStart = piece * PIECE_BYTES;
    const end = Math.min(this.span.end, pieceStart + segment.pieceLength(slot));
    // Somebody may change the file between its being trusted and its being used; then it is looked at again.
    for (let tries = 0; tries < MAX_LOOKS && segment.has(slot); tries += 1) {
      this.#parts.busy();
      const isVerified = (segment.verified & (1 << slot)) !== 0;
      const part = isVerified ? await this.#parts.gate.run(() => this.#part(position, end, slot)) : null;
      if (part !== null) return part;
      const verdict = await this.#parts.verifier.read(segment, slot, end - position);
      if (verdict === null) return null;
      if (verdict !== 'trusted') return verdict.subarray(position - pieceStart, end - pieceStart);
    }
    return null;
  }

  /** The trusted bytes of one piece without reading the whole of it; null when it has to be (or should be). */
  async #part(position: number, end: number, slot: number): Promise<Chunk | null> {
    const { files, verifier, residency, disk } = this.#parts;
    const segment = this.#segment;
    let file: OpenFile;
    try {
      file = await files.acquire(segment);
    } catch {
      // The verifier finds out what that means.
      return null;
    }
    try {
      const isTrusted = (): boolean => (verifier.trusted(segment, file) & (1 << slot)) !== 0;
      if (!isTrusted()) return null;
      if (residency.has(segment, slot)) return sliceOf(file, segment, position, end);
      const isPart = end - position < segment.pieceLength(slot);
      if (isPart && residency.readPart(segment, slot)) return null;
      const bytes = new Uint8Array(Buffer.allocUnsafeSlow(end - position).buffer);
      const offset = position - segment.firstPiece * PIECE_BYTES;
      const whole = await readFully(disk, file.fd, bytes, offset);
      // The file must still be in the trusted state after the read.
      if (!whole || !isTrusted()) return null;
      if (!isPart) residency.add(segment, slot);
      return bytes;
    } catch (error) {
      if (errorCode(error) === '') throw error;
      return null;
    } finally {
      file.release();
    }
  }
}

function sliceOf(file: OpenFile, segment: Segment, from: number, to: number): FileSlice {
  file.retain();
  let released = false;
  return {
    fd: file.fd,
    offset: from - segment.firstPiece * PIECE_BYTES,
    length: to - from,
    release: () => {
      if (released) return;
      released = true;
      file.release();
    },
  };
}

/** Releases what a chunk that nobody waits for any more may still bring. */
function giveBack(work: Promise<Chunk | null>): void {
  work.then(
    (chunk) => {
      if (chunk !== null && isFileSlice(chunk)) chunk.release();
    },
    () => undefined,
  );
}

function lost(segment: Segment): DamselflyError {
  return new DamselflyError(
    'store-corrupt',
    'A cached piece no longer matches its digest; it was dropped and has to be read again',
    { facts: { digest: segment.blob.digest, segment: segment.index } },
  );
}

function unreadable(segment: Segment, reason: string, cause: unknown): DamselflyError {
  return new DamselflyError(
    'store-unreadable',
    'The cache disk did not give a cached piece; it has to be read from elsewhere',
    { facts: { digest: segment.blob.digest, segment: segment.index, reason }, cause },
  );
}

/** The part of `span` that lies in one segment, up to the first piece that is not in `mask`. */
export function spanWithin(segment: Segment, mask: number, span: Span): Span {
  let end = span.start;
  const limit = Math.min(
    span.end,
    (segment.firstPiece + segment.pieceCount) * PIECE_BYTES,
    segment.blob.info.size,
  );
  while (end < limit) {
    const piece = pieceAt(end);
    if ((mask & (1 << (piece % SEGMENT_PIECES))) === 0) break;
    end = Math.min(limit, (piece + 1) * PIECE_BYTES);
  }
  return { start: span.start, end };
}
