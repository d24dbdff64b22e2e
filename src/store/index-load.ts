import { type Digest, parseDigest } from '../blob/digest.ts';
import { pieceCount, SEGMENT_PIECES, segmentCount } from '../blob/piece.ts';
import type { IndexDatabase } from './index-database.ts';
import type {
  BlobRow,
  IndexBatch,
  IndexContents,
  IndexOptions,
  Note,
  SegmentColumns,
} from './index-protocol.ts';
import { segmentFilePrefix } from './layout.ts';
import { blobCheck, segmentCheck } from './row-check.ts';
import { listSegmentFiles, listSpareFiles, measureFootprint, removeSegmentFile } from './scan.ts';
import { bitCount, SHA256_BYTES } from './segment.ts';

/**
 * Makes rows and files agree, in the worker thread, before anything is served:
 *  1. rows that are damaged, or whose blob is unknown or whose file is missing, are removed;
 *  2. files without a row are removed (their digests are unknown, so they can't be checked);
 *  3. the rest is handed over with each file's allocated bytes.
 * The bytes themselves are checked when they are first read.
 */
export function loadIndex(database: IndexDatabase, options: IndexOptions): IndexContents {
  const notes: Note[] = [];
  const files = listSegmentFiles(options.dir);
  const blobs: BlobRow[] = [];
  const byId = new Map<number, { digest: Digest; size: number }>();
  const damagedBlobs: number[] = [];
  for (const row of database.blobs()) {
    const blob = {
      id: Number(row.id),
      digest: String(row.digest),
      size: Number(row.size),
      mediaType: row.media_type === null ? null : String(row.media_type),
      proven: row.proven === 1,
    };
    const digest = parseDigest(blob.digest);
    if (digest === null || blobCheck(blob) !== row.crc) {
      damagedBlobs.push(blob.id);
      continue;
    }
    byId.set(blob.id, { digest, size: blob.size });
    blobs.push(blob);
  }

  const gather = new ColumnBuilder(database.segmentCount());
  const lost: { blobId: number; segment: number }[] = [];
  let damaged = 0;
  let damagedPieces = 0;
  for (const row of database.segments()) {
    const blobId = Number(row.blob_id);
    const segment = Number(row.segment);
    const file = String(row.file);
    const present = Number(row.present);
    const digests = row.digests instanceof Uint8Array ? row.digests : new Uint8Array(0);
    const blob = byId.get(blobId);
    const isRight =
      segmentCheck({ blobId, segment, file, present, digests }) === row.crc &&
      blob !== undefined &&
      digests.byteLength === digestBytes(blob.size, segment) &&
      file.startsWith(segmentFilePrefix(blob.digest, segment));
    const allocated = files.get(file);
    if (!isRight || allocated === undefined) {
      lost.push({ blobId, segment });
      if (isRight) continue;
      damaged += 1;
      damagedPieces += bitCount(present & 0xffff);
      continue;
    }
    files.delete(file);
    gather.add({ blobId, segment, file, present, usedAtMs: Number(row.used_at_ms) }, allocated, digests);
  }

  const stuck = [...files.keys()].filter((name) => !removeSegmentFile(options.dir, name));
  if (files.size > 0)
    notes.push(info(`removed ${files.size - stuck.length} segment files that the index does not know`));
  if (stuck.length > 0)
    notes.push(info(`could not remove ${stuck.length} segment files that the index does not know`));
  if (lost.length > damaged)
    notes.push(info(`forgot ${lost.length - damaged} segments whose files are missing`));
  if (damaged + damagedBlobs.length > 0) {
    const text = `${damagedBlobs.length} blobs and ${damaged} segments were damaged in the index, and are forgotten`;
    notes.push({ level: 'warn', text });
  }
  for (let from = 0; from < damagedBlobs.length; from += options.maxBatchRows)
    database.apply({ ...EMPTY_BATCH, removedBlobs: damagedBlobs.slice(from, from + options.maxBatchRows) });
  for (let from = 0; from < lost.length; from += options.maxBatchRows)
    database.apply({ ...EMPTY_BATCH, removedSegments: lost.slice(from, from + options.maxBatchRows) });

  const facts = database.facts(options.nowMs);
  return {
    blobs,
    segments: gather.columns(),
    facts,
    footprint: measureFootprint(options.dir, database.allocatedBytes()),
    notes,
    damagedPieces,
    spare: listSpareFiles(options.dir),
  };
}

function info(text: string): Note {
  return { level: 'info', text };
}

/** Length of a segment's list of piece digests; -1 when there can be no such segment. */
function digestBytes(blobSize: number, segment: number): number {
  if (segment >= segmentCount(blobSize)) return -1;
  return Math.min(SEGMENT_PIECES, pieceCount(blobSize) - segment * SEGMENT_PIECES) * SHA256_BYTES;
}

export const EMPTY_BATCH: IndexBatch = {
  blobs: [],
  removedBlobs: [],
  segments: [],
  removedSegments: [],
  used: [],
  facts: [],
  removedFacts: [],
};

class ColumnBuilder {
  #count = 0;
  readonly #blobIds: Float64Array;
  readonly #segments: Uint32Array;
  readonly #present: Uint16Array;
  readonly #usedAtMs: Float64Array;
  readonly #allocated: Float64Array;
  readonly #offsets: Float64Array;
  readonly #files: string[] = [];
  readonly #digests: Uint8Array[] = [];
  #digestBytes = 0;

  constructor(capacity: number) {
    this.#blobIds = new Float64Array(capacity);
    this.#segments = new Uint32Array(capacity);
    this.#present = new Uint16Array(capacity);
    this.#usedAtMs = new Float64Array(capacity);
    this.#allocated = new Float64Array(capacity);
    this.#offsets = new Float64Array(capacity + 1);
  }

  add(
    row: { blobId: number; segment: number; file: string; present: number; usedAtMs: number },
    allocated: number,
    digests: Uint8Array,
  ): void {
    const n = this.#count++;
    this.#blobIds[n] = row.blobId;
    this.#segments[n] = row.segment;
    this.#present[n] = row.present;
    this.#usedAtMs[n] = row.usedAtMs;
    this.#allocated[n] = allocated;
    this.#offsets[n] = this.#digestBytes;
    this.#files.push(row.file);
    this.#digests.push(digests);
    this.#digestBytes += digests.byteLength;
  }

  columns(): SegmentColumns {
    const digests = new Uint8Array(this.#digestBytes);
    for (const [n, bytes] of this.#digests.entries()) digests.set(bytes, this.#offsets[n]);
    this.#offsets[this.#count] = this.#digestBytes;
    return {
      count: this.#count,
      blobIds: this.#blobIds,
      segments: this.#segments,
      present: this.#present,
      usedAtMs: this.#usedAtMs,
      allocatedBytes: this.#allocated,
      files: this.#files,
      digests,
      digestOffsets: this.#offsets,
    };
  }
}
