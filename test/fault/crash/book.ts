import {
  PIECE_BYTES,
  pieceAt,
  pieceSpan,
  SEGMENT_BYTES,
  SEGMENT_PIECES,
  segmentOfPiece,
} from '../../../src/blob/piece.ts';
import type { Span } from '../../../src/blob/span.ts';
import type { TestBlob } from '../../support/origin.ts';

export interface CrashBlob extends TestBlob {
  readonly seed: string;
}

/** One piece that a client has had all the bytes of. */
export interface FinishedPiece {
  readonly blob: CrashBlob;
  readonly piece: number;
  /** When its last byte first was at a client; of performance.now(). */
  readonly atMs: number;
}

/** What clients saw of one cache directory, over all of its kills. */
export class Book {
  readonly #finished = new Map<string, FinishedPiece>();
  /** Segments (their blob and first piece) in order of last use, the youngest last. */
  readonly #segments = new Map<string, { readonly blob: CrashBlob; readonly firstPiece: number }>();
  readonly #maxSegments: number;
  readonly #evicts: boolean;

  /**
   * @param options.maxBytes the quota of the directory; `evicts` when its blobs do not fit. Then only what no eviction
   * can have taken counts: the segments used last, as many as fit half of the quota when each is taken for a full
   * one. The rest of the quota is for what readers make the node fetch and never look at.
   */
  constructor(options: { readonly maxBytes: number; readonly evicts: boolean }) {
    this.#evicts = options.evicts;
    this.#maxSegments = options.evicts
      ? Math.floor(options.maxBytes / 2 / SEGMENT_BYTES)
      : Number.POSITIVE_INFINITY;
  }

  /** A client had the bytes of `span` in one answer, the last of them just now. */
  had(blob: CrashBlob, span: Span): void {
    for (let piece = pieceAt(span.start); piece * PIECE_BYTES < span.end; piece += 1) {
      this.#used(blob, segmentOfPiece(piece));
      const { start, end } = pieceSpan(piece, blob.size);
      const key = `${blob.digest}/${piece}`;
      if (start < span.start || end > span.end || this.#finished.has(key)) continue;
      this.#finished.set(key, { blob, piece, atMs: performance.now() });
    }
  }

  /** A piece is not on the node: what comes again later counts from then on. */
  lost({ blob, piece }: FinishedPiece): void {
    this.#finished.delete(`${blob.digest}/${piece}`);
  }

  /** The order of use of the last seconds before a kill is not kept, so what was used before may be evicted first. */
  restarted(): void {
    if (!this.#evicts) return;
    this.#segments.clear();
    this.#finished.clear();
  }

  /** Pieces that were finished before `atMs` and must still be on the node. */
  expected(atMs: number): FinishedPiece[] {
    return [...this.#finished.values()].filter((entry) => entry.atMs <= atMs);
  }

  #used(blob: CrashBlob, segment: number): void {
    const key = `${blob.digest}/${segment}`;
    this.#segments.delete(key);
    this.#segments.set(key, { blob, firstPiece: segment * SEGMENT_PIECES });
    if (this.#segments.size <= this.#maxSegments) return;
    const [oldest] = this.#segments;
    if (oldest === undefined) return;
    const [oldestKey, { blob: owner, firstPiece }] = oldest;
    this.#segments.delete(oldestKey);
    for (let n = 0; n < SEGMENT_PIECES; n += 1) this.#finished.delete(`${owner.digest}/${firstPiece + n}`);
  }
}
