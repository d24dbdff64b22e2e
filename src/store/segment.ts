import type { Digest } from '../blob/digest.ts';
import { PIECE_BYTES, pieceCount, SEGMENT_BYTES, SEGMENT_PIECES } from '../blob/piece.ts';
import type { BlobInfo } from '../blob/source.ts';
import type { FileStat } from './disk-layer.ts';
import type { LruNode } from './lru-list.ts';
import type { OpenFile } from './open-file.ts';

export const SHA256_BYTES = 32;

/** What the node knows of one blob; its segments hold the bytes. */
export class BlobEntry {
  /** Of its row in the index. Changes only before there is one. */
  id: number;
  readonly digest: Digest;
  info: BlobInfo;
  /** Its pieces that are here are all, and together they matched the digest. */
  proven = false;
  /** Proven while its last pieces were being written: true until they are, or one of them is not. */
  provenOnceWritten = false;
  /** The index has, or is being given, its row. */
  saved = false;
  presentPieces = 0;
  readonly segments = new Map<number, Segment>();
  /** Holds of {@link Store.pin}. */
  pins = 0;

  constructor(id: number, digest: Digest, info: BlobInfo) {
    this.id = id;
    this.digest = digest;
    this.info = info;
  }

  get isComplete(): boolean {
    return this.presentPieces === pieceCount(this.info.size);
  }
}

/** One file of up to 16 pieces. Masks have bit n for the n-th piece of the segment. */
export class Segment implements LruNode {
  older: LruNode | null = null;
  newer: LruNode | null = null;

  /** Unique within this run: a cheap key. */
  readonly serial: number;
  readonly blob: BlobEntry;
  readonly index: number;
  readonly fileName: string;
  /** False until the file is on the disk. */
  created: boolean;
  /** The index has, or is being given, its row. */
  saved = false;
  /** Pieces whose bytes are written. */
  present = 0;
  /** Pieces being written, or whose write never came back: not to be written again until it has. */
  writing = 0;
  /** sha256 of each present piece, 32 bytes each. */
  readonly digests: Uint8Array;
  /** Allocated bytes counted against the quota. */
  chargedBytes = 0;
  usedAtMs: number;
  /** `usedAtMs` as the index has it. */
  savedUsedAtMs: number;

  /** Pieces that matched their digest while the file was in the state `stamp`. */
  verified = 0;
  stamp: FileStat | null = null;

  file: OpenFile | null = null;
  opening: Promise<OpenFile> | null = null;
  /** Readers and writers under way; slices in flight are counted by `file.refs`. */
  pins = 0;
  /** Evicted or dropped: no longer in the catalog, its file is or will be unlinked. */
  gone = false;

  constructor(
    blob: BlobEntry,
    index: number,
    options: {
      serial: number;
      fileName: string;
      created: boolean;
      usedAtMs: number;
      digests?: Uint8Array;
    },
  ) {
    this.serial = options.serial;
    this.blob = blob;
    this.index = index;
    this.fileName = options.fileName;
    this.created = options.created;
    this.usedAtMs = options.usedAtMs;
    this.savedUsedAtMs = options.usedAtMs;
    this.digests = options.digests ?? new Uint8Array(this.pieceCount * SHA256_BYTES);
  }

  get firstPiece(): number {
    return this.index * SEGMENT_PIECES;
  }

  get pieceCount(): number {
    return Math.min(SEGMENT_PIECES, pieceCount(this.blob.info.size) - this.firstPiece);
  }

  /** Length of the file, bytes. */
  get lengthBytes(): number {
    return Math.min(SEGMENT_BYTES, this.blob.info.size - this.index * SEGMENT_BYTES);
  }

  get evictable(): boolean {
    return (
      this.pins === 0 &&
      this.writing === 0 &&
      this.blob.pins === 0 &&
      this.opening === null &&
      (this.file === null || this.file.refs === 0)
    );
  }

  has(slot: number): boolean {
    return (this.present & (1 << slot)) !== 0;
  }

  digestOf(slot: number): Uint8Array {
    return this.digests.subarray(slot * SHA256_BYTES, (slot + 1) * SHA256_BYTES);
  }

  /** Length of the piece in `slot`, bytes. */
  pieceLength(slot: number): number {
    return Math.min(PIECE_BYTES, this.lengthBytes - slot * PIECE_BYTES);
  }
}

/** Set bits of a mask of at most 32. */
export function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
