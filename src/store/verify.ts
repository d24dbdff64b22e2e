import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { blobHash, type Digest } from '../blob/digest.ts';
import { PIECE_BYTES, type PieceRun, SEGMENT_PIECES } from '../blob/piece.ts';
import { DamselflyError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import { TooLate, within } from './deadline.ts';
import { type DiskLayer, errorCode, readFully } from './disk-layer.ts';
import { IndexError, type IndexPort } from './index-port.ts';
import type { OpenFiles } from './open-files.ts';
import type { Pace } from './pace.ts';
import { type BlobEntry, type Segment, SHA256_BYTES } from './segment.ts';
import type { Verifier } from './verifier.ts';

/** A disk that takes longer for one piece has stopped. */
const PIECE_TIMEOUT_MS = 30_000;
const PROGRESS_MS = 500;
/** Blobs whose size is summed up between two turns of the loop. */
const STEP_BLOBS = 512;
/** 0.14 ms of the loop at 1.8 GB/s. */
const HASH_STEP_BYTES = 256 * 1024;

/** Why a blob's pieces, or all of it, were dropped. */
export type DropReason =
  /** The file is not there any more. */
  | 'missing'
  /** The bytes are not those that were written, or cannot be read. */
  | 'damaged'
  /** Every piece is as it arrived, and together they are not the blob of this digest. */
  | 'not-the-blob';

export interface VerifyState {
  readonly blobs: number;
  readonly blobsDone: number;
  readonly bytesTotal: number;
  readonly bytesDone: number;
  readonly badBlobs: number;
  readonly badPieces: number;
  /** Blobs whose whole digest had not been checked before, and now has. */
  readonly newlyProven: number;
}

/** `start` and then `progress` about twice a second, a `bad` for each blob that lost something, at last `done`. */
export type VerifyEvent =
  | ({ readonly event: 'start' | 'progress' | 'done' } & VerifyState)
  | {
      readonly event: 'bad';
      readonly digest: Digest;
      readonly reason: DropReason;
      /** The dropped pieces, in order. */
      readonly pieces: readonly PieceRun[];
    };

export interface VerifyParts {
  readonly catalog: Catalog;
  readonly port: IndexPort;
  readonly disk: DiskLayer;
  readonly files: OpenFiles;
  readonly verifier: Verifier;
  /** Directory of the segment files. */
  readonly dir: string;
  /** Forgets a blob that is not what its digest says, with what of it is still on its way here. */
  readonly drop: (digest: Digest) => void;
}

/**
 * Hashes what the store has of these blobs, and drops what is not what it was. Pieces are hashed in the index's thread;
 * one that does not match there is read again by the rule that readers go by, which drops it. A blob that is complete
 * and was never checked as a whole is, and is proven or dropped.
 * @throws DamselflyError `store-unreadable`; the signal's reason.
 */
export async function* verifyBlobs(
  parts: VerifyParts,
  digests: readonly Digest[],
  pace: Pace,
  signal: AbortSignal,
): AsyncGenerator<VerifyEvent> {
  const run = new Verification(parts, pace, signal);
  try {
    yield* run.events(digests);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const code = errorCode(error);
    if (error instanceof TooLate || error instanceof IndexError || code !== '') {
      throw new DamselflyError(
        'store-unreadable',
        `The cache disk failed while it was checked (${code || 'no answer'}); what was found bad before is dropped. Look at the disk, then check again`,
        { cause: error },
      );
    }
    throw error;
  }
}

class Verification {
  readonly #parts: VerifyParts;
  readonly #pace: Pace;
  readonly #signal: AbortSignal;
  #blobs = 0;
  #blobsDone = 0;
  #bytesTotal = 0;
  #bytesDone = 0;
  #badBlobs = 0;
  #badPieces = 0;
  #newlyProven = 0;
  #toldAtMs = 0;

  constructor(parts: VerifyParts, pace: Pace, signal: AbortSignal) {
    this.#parts = parts;
    this.#pace = pace;
    this.#signal = signal;
  }

  async *events(digests: readonly Digest[]): AsyncGenerator<VerifyEvent> {
    const { catalog } = this.#parts;
    this.#blobs = digests.length;
    for (const [index, digest] of digests.entries()) {
      if (index % STEP_BLOBS === STEP_BLOBS - 1) await nextTurn();
      this.#bytesTotal += presentBytes(catalog.find(digest));
    }
    yield this.#state('start');
    for (const digest of digests) {
      const blob = catalog.find(digest);
      const before = this.#bytesDone;
      const expected = presentBytes(blob);
      if (blob !== undefined && expected > 0) yield* this.#blob(blob);
      // What left in the middle of it, or came.
      this.#bytesTotal += this.#bytesDone - before - expected;
      this.#blobsDone += 1;
    }
    // What left before its turn came.
    this.#bytesTotal = this.#bytesDone;
    yield this.#state('done');
  }

  async *#blob(blob: BlobEntry): AsyncGenerator<VerifyEvent> {
    const bad = new Map<number, DropReason>();
    for (const index of [...blob.segments.keys()].sort((a, b) => a - b)) {
      const segment = blob.segments.get(index);
      for (let slot = 0; segment !== undefined && slot < segment.pieceCount; slot += 1) {
        if (!segment.has(slot)) continue;
        await this.#pace.take(segment.pieceLength(slot), this.#signal);
        for (const [piece, reason] of await this.#piece(segment, slot)) bad.set(piece, reason);
        this.#bytesDone += segment.pieceLength(slot);
        yield* this.#progress();
      }
    }
    if (bad.size > 0) {
      for (const reason of new Set(bad.values())) {
        const pieces = runsOf([...bad].filter(([, why]) => why === reason).map(([piece]) => piece));
        yield { event: 'bad', digest: blob.digest, reason, pieces };
      }
      this.#badPieces += bad.size;
      this.#badBlobs += 1;
      return;
    }
    if (!blob.isComplete || blob.proven || blob.info.size === 0) return;
    const total = blob.presentPieces;
    const verdict = await this.#whole(blob);
    if (verdict === 'right') {
      this.#parts.catalog.markProven(blob.digest);
      this.#newlyProven += 1;
    } else if (verdict === 'wrong') {
      this.#parts.drop(blob.digest);
      this.#badBlobs += 1;
      this.#badPieces += total;
      yield { event: 'bad', digest: blob.digest, reason: 'not-the-blob', pieces: [{ first: 0, end: total }] };
    }
  }

  *#progress(): Generator<VerifyEvent> {
    const nowMs = performance.now();
    if (nowMs - this.#toldAtMs < PROGRESS_MS) return;
    this.#toldAtMs = nowMs;
    yield this.#state('progress');
  }

  /** @returns the pieces that were dropped: with a file that is gone, all that were in it. */
  async #piece(segment: Segment, slot: number): Promise<[piece: number, reason: DropReason][]> {
    const { port, verifier, dir } = this.#parts;
    const expected = Buffer.from(segment.digestOf(slot).slice());
    const length = segment.pieceLength(slot);
    const job = { path: join(dir, segment.fileName), offset: slot * PIECE_BYTES, length };
    const hashed = await within(port.hash(job), PIECE_TIMEOUT_MS, this.#signal);
    if (segment.gone || !segment.has(slot)) return [];
    if (hashed !== null && expected.equals(hashed.sha256)) return [];
    const present = slotsOf(segment);
    const verdict = await within(verifier.read(segment, slot, length), PIECE_TIMEOUT_MS, this.#signal);
    // Gone with its file: a file that was unlinked may still be open here, and its bytes right.
    const isMissing = hashed === null && segment.gone;
    if (verdict !== null && !isMissing) return [];
    const lost = segment.gone ? present : [slot];
    const reason = isMissing ? 'missing' : 'damaged';
    return lost.map((one) => [segment.firstPiece + one, reason]);
  }

  /** Hashes a complete blob from its files; `changed` when what is here became another meanwhile. */
  async #whole(blob: BlobEntry): Promise<'right' | 'wrong' | 'changed'> {
    const { files, disk } = this.#parts;
    const before = recordedDigests(blob);
    const hash = blobHash(blob.digest);
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    for (const index of [...blob.segments.keys()].sort((a, b) => a - b)) {
      const segment = blob.segments.get(index);
      if (segment === undefined || segment.gone || !blob.isComplete) return 'changed';
      const file = await files.acquire(segment).catch((error: unknown) => {
        if (errorCode(error) === '') throw error;
        return null;
      });
      if (file === null) return 'changed';
      try {
        for (let slot = 0; slot < segment.pieceCount; slot += 1) {
          const bytes = buffer.subarray(0, segment.pieceLength(slot));
          await this.#pace.take(bytes.length, this.#signal);
          const read = readFully(disk, file.fd, bytes, slot * PIECE_BYTES);
          if (!(await within(read, PIECE_TIMEOUT_MS, this.#signal))) return 'changed';
          for (let from = 0; from < bytes.length; from += HASH_STEP_BYTES) {
            hash.update(bytes.subarray(from, from + HASH_STEP_BYTES));
            await nextTurn();
          }
        }
      } finally {
        file.release();
      }
    }
    const found = hash.digest('hex');
    if (!blob.isComplete || !before.equals(recordedDigests(blob))) return 'changed';
    return blob.digest.endsWith(`:${found}`) ? 'right' : 'wrong';
  }

  #state(event: 'start' | 'progress' | 'done'): VerifyEvent {
    return {
      event,
      blobs: this.#blobs,
      blobsDone: this.#blobsDone,
      bytesTotal: this.#bytesTotal,
      bytesDone: this.#bytesDone,
      badBlobs: this.#badBlobs,
      badPieces: this.#badPieces,
      newlyProven: this.#newlyProven,
    };
  }
}

function slotsOf(segment: Segment): number[] {
  return Array.from({ length: SEGMENT_PIECES }, (_, slot) => slot).filter((slot) => segment.has(slot));
}

function presentBytes(blob: BlobEntry | undefined): number {
  let bytes = 0;
  for (const segment of blob?.segments.values() ?? [])
    for (let slot = 0, rest = segment.present; rest !== 0; slot += 1, rest >>>= 1)
      if ((rest & 1) === 1) bytes += segment.pieceLength(slot);
  return bytes;
}

/** What identifies the pieces that are here at this moment: their digests, hashed so that a large blob costs nothing to keep. */
function recordedDigests(blob: BlobEntry): Buffer {
  const hash = createHash('sha256');
  for (const index of [...blob.segments.keys()].sort((a, b) => a - b)) {
    const segment = blob.segments.get(index);
    if (segment === undefined) continue;
    hash.update(`${segment.serial} `);
    hash.update(segment.digests.subarray(0, segment.pieceCount * SHA256_BYTES));
  }
  return hash.digest();
}

export function runsOf(pieces: readonly number[]): PieceRun[] {
  const runs: { first: number; end: number }[] = [];
  for (const piece of [...pieces].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last?.end === piece) last.end += 1;
    else runs.push({ first: piece, end: piece + 1 });
  }
  return runs;
}
