import type { FactKind } from './facts.ts';

/** Pages that one row of a batch may dirty at most: its leaf, a split, its secondary index, an overflow page. */
export const PAGES_PER_ROW = 4;
export const PAGE_BYTES = 4096;

/** One blob. */
export interface BlobRow {
  readonly id: number;
  readonly digest: string;
  readonly size: number;
  readonly mediaType: string | null;
  readonly proven: boolean;
}

/** A segment's file and what is in it. The digests of absent pieces mean nothing. */
export interface SegmentRow {
  readonly blobId: number;
  readonly segment: number;
  readonly file: string;
  /** Bit n: the n-th piece is written. */
  readonly present: number;
  readonly usedAtMs: number;
  /** 32 bytes per piece of the segment. */
  readonly digests: Uint8Array;
}

export interface FactRow {
  readonly kind: FactKind;
  readonly key: string;
  readonly value: string;
  /** null: does not age. */
  readonly expiresAtMs: number | null;
}

/** One transaction. Every row in it describes data that is already written. */
export interface IndexBatch {
  readonly blobs: readonly BlobRow[];
  readonly removedBlobs: readonly number[];
  readonly segments: readonly SegmentRow[];
  readonly removedSegments: readonly { readonly blobId: number; readonly segment: number }[];
  readonly used: readonly { readonly blobId: number; readonly segment: number; readonly usedAtMs: number }[];
  readonly facts: readonly FactRow[];
  readonly removedFacts: readonly { readonly kind: FactKind; readonly key: string }[];
}

/** Segments as columns: tens of thousands of rows cross the thread boundary in a few milliseconds. */
export interface SegmentColumns {
  readonly count: number;
  readonly blobIds: Float64Array;
  readonly segments: Uint32Array;
  readonly present: Uint16Array;
  readonly usedAtMs: Float64Array;
  /** Allocated bytes of each file as found on the disk. */
  readonly allocatedBytes: Float64Array;
  readonly files: readonly string[];
  /** All digests, one row after the other; row n lies between `digestOffsets[n]` and `digestOffsets[n + 1]`. */
  readonly digests: Uint8Array;
  readonly digestOffsets: Float64Array;
}

export interface IndexContents {
  readonly blobs: readonly BlobRow[];
  /** In order of last use, oldest first. */
  readonly segments: SegmentColumns;
  readonly facts: readonly FactRow[];
  readonly footprint: Footprint;
  /** What was mended or thrown away while opening, for the log. */
  readonly notes: readonly Note[];
  /** Pieces that rows spoke of which turned out to be damaged. */
  readonly damagedPieces: number;
  /** Files of other formats that may go when room is needed, in the order in which they should. */
  readonly spare: readonly SpareFile[];
}

export interface Note {
  /** 'warn' when something was lost that should not have been. */
  readonly level: 'info' | 'warn';
  readonly text: string;
}

export interface SpareFile {
  readonly path: string;
  /** Allocated bytes. */
  readonly bytes: number;
}

/** Allocated bytes of all under `cache.dir` besides the segment files. */
export interface Footprint {
  /** The index with what it will need when its log is folded in. */
  readonly indexBytes: number;
  /** The directory of the segments itself. */
  readonly segmentsDirBytes: number;
  /** Everything else, ours or not. */
  readonly otherBytes: number;
}

export interface IndexOptions {
  readonly dir: string;
  /** How long to wait for another process to let go of the lock. */
  readonly lockWaitMs: number;
  /** Rows that one batch may hold at most; bounds the write-ahead log. */
  readonly maxBatchRows: number;
  /** Facts kept per kind; the oldest go first. */
  readonly maxFactsPerKind: number;
  readonly nowMs: number;
}

/** A piece to be hashed beside the loop. */
export interface HashJob {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

export interface HashResult {
  readonly sha256: Uint8Array;
  readonly dev: bigint;
  readonly ino: bigint;
}

export type IndexRequest =
  | { readonly id: number; readonly type: 'open'; readonly options: IndexOptions }
  | { readonly id: number; readonly type: 'apply'; readonly batch: IndexBatch }
  | { readonly id: number; readonly type: 'measure' }
  | { readonly id: number; readonly type: 'rebuild' }
  | { readonly id: number; readonly type: 'hash'; readonly job: HashJob }
  | { readonly id: number; readonly type: 'close' };

/**
 * Why the index cannot be used: 'locked' stops a node that starts, the rest makes it run without a disk. 'damaged' is an
 * index that broke or vanished while it was open, and can be rebuilt.
 */
export type IndexFailure = 'locked' | 'read-only' | 'disk-full' | 'disk-error' | 'damaged';

export type IndexReply =
  | { readonly id: number; readonly type: 'opened'; readonly contents: IndexContents }
  | { readonly id: number; readonly type: 'applied'; readonly indexBytes: number }
  | { readonly id: number; readonly type: 'measured'; readonly footprint: Footprint }
  | { readonly id: number; readonly type: 'rebuilt' }
  | { readonly id: number; readonly type: 'hashed'; readonly result: HashResult | null }
  | { readonly id: number; readonly type: 'closed' }
  | {
      readonly id: number;
      readonly type: 'failed';
      readonly failure: IndexFailure;
      readonly message: string;
    };
