import { type Digest, parseDigest } from '../blob/digest.ts';
import { pieceCount, SEGMENT_PIECES, segmentOfPiece } from '../blob/piece.ts';
import type { BlobCatalog, BlobInfo, KnownBlob } from '../blob/source.ts';
import type { IndexContents } from './index-protocol.ts';
import { segmentFileName } from './layout.ts';
import { LruList } from './lru-list.ts';
import { BlobEntry, bitCount, Segment, SHA256_BYTES } from './segment.ts';

/** A use is noted at most this often per segment: enough for an LRU, and a hit stays cheap. */
const TOUCH_MS = 1_000;
/** How much a segment's use may be ahead of the index; what a kill -9 costs the LRU order. */
const SAVE_USE_MS = 2_000;

/** Hears of every change that should survive a restart. */
export interface CatalogJournal {
  blobChanged(blob: BlobEntry): void;
  blobRemoved(blob: BlobEntry): void;
  segmentChanged(segment: Segment): void;
  segmentRemoved(segment: Segment): void;
  segmentUsed(segment: Segment): void;
}

/** What others on the node hear of; called in the middle of a change, must not throw. */
export interface CatalogEvents {
  /** Pieces of a segment that were here are not any more: evicted, dropped, damaged. */
  lost(blob: KnownBlob, segment: number): void;
  /** All pieces are here, and their bytes have matched the digest. */
  proven(blob: KnownBlob): void;
}

/**
 * The mirror of the index in memory: what is here, and in which order it was used. No disk is touched.
 *
 * Longer than other files: blobs, their segments, the order of use and the journal change together, and only here.
 */
export class Catalog implements BlobCatalog {
  readonly #blobs = new Map<Digest, BlobEntry>();
  /** Blobs of which no piece is here, oldest first: kept for their size and media type, bounded. */
  readonly #bare = new Set<BlobEntry>();
  readonly #lru = new LruList<Segment>();
  readonly #journal: CatalogJournal;
  readonly #maxBareBlobs: number;
  /** Sets the file names of this run apart from those of earlier runs. */
  readonly #birth: string;
  readonly #dropped: (digest: Digest) => void;
  readonly #isReadable: () => boolean;
  readonly #now: () => number;
  readonly #events: CatalogEvents;
  #removed: (segment: Segment) => void = () => undefined;
  #nextBlobId: number;
  #nextSerial = 1;
  #pieces = 0;

  constructor(options: {
    journal: CatalogJournal;
    maxBareBlobs: number;
    /** A blob turned out to be wrong: whoever else has bytes of it forgets them too. */
    dropped: (digest: Digest) => void;
    events?: Partial<CatalogEvents> | undefined;
    /** False while the disk does not answer reads: then nothing is here, as far as readers are concerned. */
    isReadable?: () => boolean;
    /** Milliseconds since the epoch. */
    now?: () => number;
  }) {
    this.#journal = options.journal;
    this.#maxBareBlobs = options.maxBareBlobs;
    this.#dropped = options.dropped;
    this.#events = { lost: () => undefined, proven: () => undefined, ...options.events };
    this.#isReadable = options.isReadable ?? (() => true);
    this.#now = options.now ?? Date.now;
    const startedAtMs = Date.now();
    this.#birth = startedAtMs.toString(36);
    // Ids of this run are above those of earlier ones, so that blobs may be named before the index could be read.
    this.#nextBlobId = startedAtMs * 1_000;
  }

  get blobCount(): number {
    return this.#blobs.size;
  }

  get pieceCount(): number {
    return this.#pieces;
  }

  /** Called once for every segment that leaves, after it has left. */
  onRemoved(listener: (segment: Segment) => void): void {
    this.#removed = listener;
  }

  /**
   * Takes over what the index holds. Where a blob was named before, the index's word is the older one and stands.
   * @returns how many segments.
   */
  load(contents: IndexContents): number {
    const byId = new Map<number, BlobEntry>();
    for (const row of contents.blobs) {
      const digest = parseDigest(row.digest);
      if (digest === null) continue;
      const blob = new BlobEntry(row.id, digest, { size: row.size, mediaType: row.mediaType ?? undefined });
      blob.proven = row.proven;
      blob.saved = true;
      const named = this.#blobs.get(digest);
      if (named !== undefined) this.#forget(named);
      byId.set(row.id, blob);
      this.#blobs.set(digest, blob);
      this.#nextBlobId = Math.max(this.#nextBlobId, row.id + 1);
    }
    this.#renumber(byId);
    const rows = contents.segments;
    for (let n = 0; n < rows.count; n += 1) this.#loadSegment(byId, rows, n);
    for (const blob of this.#blobs.values()) {
      if (!blob.isComplete) blob.proven = false;
      if (blob.segments.size === 0) this.#bare.add(blob);
    }
    return rows.count;
  }

  /** Every blob that is known; may be walked while the catalog changes. */
  entries(): IterableIterator<BlobEntry> {
    return this.#blobs.values();
  }

  /** The index was lost: all that is here is told to the journal again. */
  retell(): void {
    for (const blob of this.#blobs.values()) {
      this.#journal.blobChanged(blob);
      for (const segment of blob.segments.values())
        if (segment.present !== 0) this.#journal.segmentChanged(segment);
    }
  }

  find(digest: Digest): BlobEntry | undefined {
    return this.#blobs.get(digest);
  }

  describe(digest: Digest): BlobInfo | undefined {
    return this.#blobs.get(digest)?.info;
  }

  record(digest: Digest, info: BlobInfo): boolean {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) {
      this.#add(digest, info);
      return true;
    }
    if (blob.info.size !== info.size) return false;
    if (blob.info.mediaType === undefined && info.mediaType !== undefined) {
      blob.info = { size: info.size, mediaType: info.mediaType };
      this.#journal.blobChanged(blob);
    }
    return true;
  }

  hasAny(digest: Digest): boolean {
    return (this.#blobs.get(digest)?.presentPieces ?? 0) > 0;
  }

  hasPiece(digest: Digest, piece: number): boolean {
    return this.#isReadable() && this.isStored(digest, piece);
  }

  /** Whether a piece is in a segment file, readable at the moment or not. */
  isStored(digest: Digest, piece: number): boolean {
    const segment = this.#blobs.get(digest)?.segments.get(segmentOfPiece(piece));
    return segment?.has(piece % SEGMENT_PIECES) ?? false;
  }

  /** sha256 of a piece that is here, 32 bytes; not to be changed. */
  pieceDigest(digest: Digest, piece: number): Uint8Array | undefined {
    const segment = this.#blobs.get(digest)?.segments.get(segmentOfPiece(piece));
    const slot = piece % SEGMENT_PIECES;
    return segment?.has(slot) === true ? segment.digestOf(slot) : undefined;
  }

  isComplete(digest: Digest): boolean {
    return this.#blobs.get(digest)?.isComplete ?? false;
  }

  isProven(digest: Digest): boolean {
    return this.#blobs.get(digest)?.proven ?? false;
  }

  markProven(digest: Digest): void {
    const blob = this.#blobs.get(digest);
    if (blob === undefined || blob.proven) return;
    if (blob.isComplete) this.#proven(blob);
    else blob.provenOnceWritten = isBeingCompleted(blob);
  }

  /** A piece that was being written is not here: what comes in its place is not what was proven. */
  notWritten({ blob }: Segment): void {
    blob.provenOnceWritten = false;
  }

  drop(digest: Digest): void {
    this.#dropped(digest);
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return;
    for (const segment of [...blob.segments.values()]) this.removeSegment(segment);
    this.#forget(blob);
  }

  /** The blob's segment to write a piece into; made when it is not here yet. Null when the size contradicts. */
  segmentFor(digest: Digest, size: number, piece: number): Segment | null {
    const blob = this.#blobs.get(digest) ?? this.#add(digest, { size, mediaType: undefined });
    if (blob.info.size !== size || piece < 0 || piece >= pieceCount(size)) return null;
    const index = segmentOfPiece(piece);
    const known = blob.segments.get(index);
    if (known !== undefined) return known;
    const serial = this.#nextSerial++;
    const segment = new Segment(blob, index, {
      serial,
      fileName: segmentFileName(digest, index, `${this.#birth}-${serial.toString(36)}`),
      created: false,
      usedAtMs: this.#now(),
    });
    this.#bare.delete(blob);
    blob.segments.set(index, segment);
    this.#lru.add(segment);
    return segment;
  }

  /** The bytes of a piece are in the file: from here on it can be read. */
  pieceWritten(segment: Segment, slot: number, sha256: Uint8Array): void {
    if (segment.has(slot) || segment.gone) return;
    segment.digests.set(sha256, slot * SHA256_BYTES);
    segment.present |= 1 << slot;
    segment.blob.presentPieces += 1;
    this.#pieces += 1;
    // Whoever waits for a piece on its way gets it without a read from the disk: written is used.
    this.touch(segment);
    this.#journal.segmentChanged(segment);
    if (segment.blob.provenOnceWritten && segment.blob.isComplete) this.#proven(segment.blob);
  }

  /** Takes one piece out that nobody should read any more; see {@link dropPiece}. */
  forgetPiece(digest: Digest, piece: number): void {
    const segment = this.#blobs.get(digest)?.segments.get(segmentOfPiece(piece));
    if (segment !== undefined) this.dropPiece(segment, piece % SEGMENT_PIECES);
  }

  /** A piece turned out to be damaged or missing. What is left of its segment stays. */
  dropPiece(segment: Segment, slot: number): void {
    if (!segment.has(slot) || segment.gone) return;
    segment.present &= ~(1 << slot);
    segment.verified &= ~(1 << slot);
    segment.blob.presentPieces -= 1;
    this.#pieces -= 1;
    this.#unproven(segment.blob);
    if (segment.present === 0 && segment.writing === 0) this.removeSegment(segment);
    else {
      this.#journal.segmentChanged(segment);
      this.#events.lost(known(segment.blob), segment.index);
    }
  }

  /** Takes a segment out: evicted, dropped or empty. Its pieces can't be read any more; slices in flight stay good. */
  removeSegment(segment: Segment): void {
    if (segment.gone) return;
    segment.gone = true;
    const { blob } = segment;
    const lost = bitCount(segment.present);
    segment.present = 0;
    blob.segments.delete(segment.index);
    blob.presentPieces -= lost;
    this.#pieces -= lost;
    this.#lru.remove(segment);
    this.#journal.segmentRemoved(segment);
    if (lost > 0) this.#unproven(blob);
    if (blob.segments.size === 0) this.#becomeBare(blob);
    this.#removed(segment);
    if (lost > 0) this.#events.lost(known(blob), segment.index);
  }

  /** Notes a read. */
  touch(segment: Segment): void {
    const now = this.#now();
    // A clock that was set back must not freeze the order for as long as it was ahead.
    if (Math.abs(now - segment.usedAtMs) < TOUCH_MS) return;
    segment.usedAtMs = now;
    this.#lru.touch(segment);
    if (Math.abs(now - segment.savedUsedAtMs) >= SAVE_USE_MS) this.#journal.segmentUsed(segment);
  }

  oldestEvictable(except?: Segment): Segment | null {
    return this.#lru.findOldest((segment) => segment !== except && segment.evictable);
  }

  /** Keeps a blob's segments from being evicted until the returned function is called. */
  pin(digest: Digest): () => void {
    const blob = this.#blobs.get(digest);
    if (blob === undefined) return () => undefined;
    blob.pins += 1;
    let held = true;
    return () => {
      if (held) blob.pins -= 1;
      held = false;
    };
  }

  #add(digest: Digest, info: BlobInfo): BlobEntry {
    const blob = new BlobEntry(this.#nextBlobId++, digest, { size: info.size, mediaType: info.mediaType });
    this.#blobs.set(digest, blob);
    this.#journal.blobChanged(blob);
    this.#becomeBare(blob);
    return blob;
  }

  #proven(blob: BlobEntry): void {
    blob.provenOnceWritten = false;
    blob.proven = true;
    this.#journal.blobChanged(blob);
    this.#events.proven(known(blob));
  }

  /** Pieces that are read again later are not those that were proven. */
  #unproven(blob: BlobEntry): void {
    blob.provenOnceWritten = false;
    if (!blob.proven) return;
    blob.proven = false;
    this.#journal.blobChanged(blob);
  }

  #becomeBare(blob: BlobEntry): void {
    this.#bare.add(blob);
    if (this.#bare.size <= this.#maxBareBlobs) return;
    for (const oldest of this.#bare) {
      if (oldest !== blob) this.#forget(oldest);
      return;
    }
  }

  #forget(blob: BlobEntry): void {
    this.#bare.delete(blob);
    this.#blobs.delete(blob.digest);
    this.#journal.blobRemoved(blob);
  }

  /** After a clock went back, what was named before the index could be read may have taken ids of the index. */
  #renumber(byId: ReadonlyMap<number, BlobEntry>): void {
    for (const blob of this.#blobs.values())
      if (byId.has(blob.id) && byId.get(blob.id) !== blob) blob.id = this.#nextBlobId++;
  }

  #loadSegment(byId: Map<number, BlobEntry>, rows: IndexContents['segments'], n: number): void {
    // The worker has checked each row against its blob.
    const blob = byId.get(rows.blobIds[n] ?? -1);
    if (blob === undefined) return;
    const index = rows.segments[n] ?? 0;
    const from = rows.digestOffsets[n] ?? 0;
    const usedAtMs = rows.usedAtMs[n] ?? 0;
    const segment = new Segment(blob, index, {
      serial: this.#nextSerial++,
      fileName: rows.files[n] ?? '',
      created: true,
      // What was used while the clock was ahead is not kept for as long as it was.
      usedAtMs: Math.min(usedAtMs, this.#now()),
      digests: rows.digests.subarray(from, rows.digestOffsets[n + 1]),
    });
    segment.present = (rows.present[n] ?? 0) & ((1 << segment.pieceCount) - 1);
    segment.chargedBytes = rows.allocatedBytes[n] ?? 0;
    segment.saved = true;
    blob.segments.set(index, segment);
    blob.presentPieces += bitCount(segment.present);
    this.#pieces += bitCount(segment.present);
    this.#lru.add(segment);
    if (segment.usedAtMs < usedAtMs) this.#journal.segmentUsed(segment);
  }
}

function known({ digest, info }: BlobEntry): KnownBlob {
  return { digest, size: info.size };
}

/** Whether all that is missing is on its way to the disk at this moment. */
function isBeingCompleted(blob: BlobEntry): boolean {
  let pieces = 0;
  for (const { present, writing } of blob.segments.values()) pieces += bitCount(present | writing);
  return pieces === pieceCount(blob.info.size);
}
