import { LRUCache } from 'lru-cache';
import type { Digest } from '../blob/digest.ts';
import { PIECE_BYTES, pieceAt, pieceLength, SEGMENT_PIECES } from '../blob/piece.ts';
import type { BlobAddress, BlobInfo, Chunk, OpenedRead, OpenOptions, PieceSource } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import type { Metrics } from '../observe/metrics.ts';
import { type AdmissionPolicy, SecondHit } from './admission.ts';
import { refuseOutside } from './disk-source.ts';

/** What one read may hold on to, so that it can't keep many evicted pieces alive. */
const MAX_READ_PIECES = SEGMENT_PIECES;
/** 2^24 pieces are a blob of 16 TiB; blob ids have the 29 bits above. */
const PIECES_PER_BLOB = 2 ** 24;

/** Blobs remembered; most of them for their keys only. */
const MAX_BLOBS = 16_384;

interface HotBlob {
  readonly id: number;
  readonly digest: Digest;
  info: BlobInfo;
  /** Pieces in the tier. */
  count: number;
}

interface HotPiece {
  readonly blob: HotBlob;
  readonly bytes: Uint8Array;
}

export interface AdmitOptions {
  /** The disk declined it, or there is none: take it in any case. */
  readonly forced?: boolean;
  /** Bytes of the piece that the reader wanted; default: all of it. */
  readonly wantedBytes?: number;
}

/** Verified pieces in memory, bounded in bytes. */
export class MemorySource implements PieceSource {
  readonly name = 'memory';
  readonly maxBytes: number;
  readonly #blobs = new Map<Digest, HotBlob>();
  readonly #pieces: LRUCache<number, HotPiece> | null;
  readonly #policy: AdmissionPolicy;
  readonly #metrics: Metrics;
  #nextId = 0;

  /** @param options.maxBytes 0 switches the tier off. */
  constructor(options: { maxBytes: number; metrics: Metrics; policy?: AdmissionPolicy }) {
    this.maxBytes = options.maxBytes;
    this.#policy = options.policy ?? new SecondHit();
    this.#metrics = options.metrics;
    this.#pieces =
      options.maxBytes < 1
        ? null
        : new LRUCache({
            maxSize: options.maxBytes,
            sizeCalculation: (piece) => Math.max(1, piece.bytes.byteLength),
            dispose: (piece) => this.#left(piece),
          });
  }

  get sizeBytes(): number {
    return this.#pieces?.calculatedSize ?? 0;
  }

  hasPiece(digest: Digest, piece: number): boolean {
    const blob = this.#blobs.get(digest);
    return blob !== undefined && this.#pieces?.has(blob.id * PIECES_PER_BLOB + piece) === true;
  }

  hasAny(digest: Digest): boolean {
    return (this.#blobs.get(digest)?.count ?? 0) > 0;
  }

  /**
   * Offers a whole, verified piece; its bytes must not change afterwards. They are kept as they are, unless they are a
   * small part of a large buffer, which would be kept alive with them: then they are copied.
   * @returns whether it is here now.
   */
  admit(
    digest: Digest,
    info: BlobInfo,
    piece: number,
    bytes: Uint8Array,
    options: AdmitOptions = {},
  ): boolean {
    const pieces = this.#pieces;
    if (pieces === null || bytes.byteLength !== pieceLength(piece, info.size) || bytes.byteLength === 0)
      return false;
    const blob = this.#blobs.get(digest) ?? { id: this.#nextId++, digest, info, count: 0 };
    if (blob.info.size !== info.size) return false;
    // Known before anything of it is taken, so that a second offer finds the same key.
    if (blob.count === 0) this.#remember(blob);
    const key = blob.id * PIECES_PER_BLOB + piece;
    if (pieces.has(key)) return true;
    const { forced = false, wantedBytes = bytes.byteLength } = options;
    if (!this.#policy.admits({ key, blobSize: info.size, wantedBytes, forced })) return false;
    blob.info = blob.info.mediaType === undefined ? info : blob.info;
    pieces.set(key, { blob, bytes: compact(bytes) });
    if (!pieces.has(key)) return false;
    blob.count += 1;
    this.#metrics.memoryBytes.set(this.sizeBytes);
    return true;
  }

  /** Forgets a blob: its bytes turned out to be wrong. */
  drop(digest: Digest): void {
    const blob = this.#blobs.get(digest);
    if (blob === undefined || this.#pieces === null) return;
    for (const [key, piece] of [...this.#pieces.entries()]) if (piece.blob === blob) this.#pieces.delete(key);
    this.#blobs.delete(digest);
    this.#metrics.memoryBytes.set(this.sizeBytes);
  }

  open(blob: BlobAddress, span: Span, options: OpenOptions): OpenedRead | null {
    options.signal.throwIfAborted();
    const hot = this.#blobs.get(blob.digest);
    refuseOutside(span, hot?.info.size ?? blob.size);
    if (hot === undefined || hot.count === 0 || this.#pieces === null) return null;
    if (blob.size !== undefined && blob.size !== hot.info.size) return null;
    const { info } = hot;
    const end = Math.min(span.end, info.size);
    const chunks: Uint8Array[] = [];
    let at = span.start;
    while (at < end && chunks.length < MAX_READ_PIECES) {
      const piece = pieceAt(at);
      const bytes = this.#pieces.get(hot.id * PIECES_PER_BLOB + piece)?.bytes;
      if (bytes === undefined) break;
      const from = at - piece * PIECE_BYTES;
      const to = Math.min(bytes.byteLength, end - piece * PIECE_BYTES);
      chunks.push(bytes.subarray(from, to));
      at += to - from;
    }
    if (chunks.length === 0) return null;
    return new MemoryRead(info, { start: span.start, end: at }, chunks, options.signal);
  }

  #remember(blob: HotBlob): void {
    this.#blobs.set(blob.digest, blob);
    // Blobs of which nothing was taken are remembered for their keys only; their number is bounded.
    if (this.#blobs.size <= MAX_BLOBS) return;
    for (const other of this.#blobs.values()) {
      if (other.count > 0 || other === blob) continue;
      this.#blobs.delete(other.digest);
      return;
    }
  }

  #left({ blob }: HotPiece): void {
    blob.count -= 1;
  }
}

class MemoryRead implements OpenedRead, AsyncIterator<Chunk, undefined> {
  readonly info: BlobInfo;
  readonly span: Span;
  readonly #chunks: Uint8Array[];
  readonly #signal: AbortSignal;
  #next = 0;

  constructor(info: BlobInfo, span: Span, chunks: Uint8Array[], signal: AbortSignal) {
    this.info = info;
    this.span = span;
    this.#chunks = chunks;
    this.#signal = signal;
  }

  get chunks(): AsyncIterable<Chunk> {
    return this;
  }

  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined> {
    return this;
  }

  async next(): Promise<IteratorResult<Chunk, undefined>> {
    this.#signal.throwIfAborted();
    const value = this.#chunks[this.#next++];
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }

  async return(): Promise<IteratorResult<Chunk, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  close(): void {
    this.#chunks.length = 0;
  }
}

function compact(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? Uint8Array.prototype.slice.call(bytes) : bytes;
}
