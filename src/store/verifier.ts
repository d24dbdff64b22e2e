import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PIECE_BYTES, SEGMENT_PIECES } from '../blob/piece.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Catalog } from './catalog.ts';
import { type DiskLayer, errorCode, type FileStat, LOST_FILE_CODES, readFully } from './disk-layer.ts';
import type { Gate } from './gate.ts';
import type { OpenFile } from './open-file.ts';
import type { OpenFiles } from './open-files.ts';
import type { Residency } from './residency.ts';
import { type Segment, SHA256_BYTES } from './segment.ts';

/** What open(2) says of a file whose rights were taken away or whose inode is bad, or of a whole directory like that. */
const REFUSED_CODES = new Set(['EACCES', 'EPERM', 'EIO', 'EUCLEAN', 'ESTALE']);

/** 0.14 ms of the loop at 1.8 GB/s. */
const HASH_STEP_BYTES = 256 * 1024;
/**
 * A file that was changed less than this ago may be changed again without its times telling: the kernel's clock for
 * file times ticks every 1 to 10 ms, and a write(2) notes its time before it copies its bytes.
 */
export const SETTLE_MS = 100;

const MAX_SPARE_BUFFERS = 8;

/** What became of a piece that was read and hashed, see {@link Verifier.read}. */
export type Verdict = 'trusted' | Uint8Array | null;

/** A whole piece that has just been read and found right. */
export interface VerifiedPiece {
  readonly segment: Segment;
  readonly slot: number;
  readonly bytes: Uint8Array;
  readonly wantedBytes: number;
  /** False while its file is being changed: the next reader would have to hash it again. */
  readonly trusted: boolean;
}

/**
 * Decides which bytes of a segment file may leave, by one rule: a piece is trusted while the file shows the very state
 * (device, inode, size, times) in which that piece was last read and matched its digest. Trust comes from reading only,
 * never from having written, so our own writes need no exception: they change the state, and the next reader hashes.
 */
export class Verifier {
  readonly #catalog: Catalog;
  readonly #disk: DiskLayer;
  readonly #files: OpenFiles;
  readonly #residency: Residency;
  readonly #metrics: Metrics;
  readonly #verified: (piece: VerifiedPiece) => boolean;
  readonly #spare: Uint8Array[] = [];
  readonly #gate: Gate;
  readonly #settleMs: number;
  /** Pieces being read and hashed, so that readers of one piece share the work. */
  readonly #underWay = new Map<number, Promise<Verdict>>();

  constructor(options: {
    catalog: Catalog;
    disk: DiskLayer;
    files: OpenFiles;
    residency: Residency;
    metrics: Metrics;
    /** @returns true to keep the bytes. */
    verified: (piece: VerifiedPiece) => boolean;
    /** Bounds the reads under way. */
    gate: Gate;
    settleMs?: number;
  }) {
    this.#catalog = options.catalog;
    this.#disk = options.disk;
    this.#files = options.files;
    this.#residency = options.residency;
    this.#metrics = options.metrics;
    this.#verified = options.verified;
    this.#gate = options.gate;
    this.#settleMs = options.settleMs ?? SETTLE_MS;
  }

  /** The pieces (a mask) that may leave the file unhashed, as of now. One fstat. */
  trusted(segment: Segment, file: OpenFile): number {
    const { stamp } = segment;
    if (stamp === null || segment.verified === 0) return 0;
    return sameState(stamp, this.#disk.stat(file.fd)) ? segment.verified : 0;
  }

  /**
   * Reads and hashes one piece.
   * @param wantedBytes how much of it the reader is after.
   * @returns `trusted` when it is right and may leave the file; its bytes when it is right, but the file was changed so
   * lately that the next look would have to hash again; null when it is not what it was or could not be read, and then
   * it is no longer in the catalog.
   * @throws an errno that is not the piece's fault: no descriptors left, no rights, the directory's disk failing.
   */
  read(segment: Segment, slot: number, wantedBytes: number): Promise<Verdict> {
    const key = segment.serial * SEGMENT_PIECES + slot;
    let work = this.#underWay.get(key);
    if (work === undefined) {
      segment.pins += 1;
      work = this.#gate
        .run(() => this.#read(segment, slot, wantedBytes))
        .finally(() => {
          segment.pins -= 1;
          this.#underWay.delete(key);
        });
      this.#underWay.set(key, work);
    }
    return work;
  }

  /** Notes that a piece matched while the file showed `stat`, with nothing having changed for a while. */
  trust(segment: Segment, slot: number, stat: FileStat): void {
    if (segment.gone || !segment.has(slot)) return;
    if (segment.stamp === null || !sameState(segment.stamp, stat)) {
      segment.stamp = stat;
      segment.verified = 0;
    }
    segment.verified |= 1 << slot;
  }

  isSettled(stat: FileStat): boolean {
    const changedNs = stat.mtimeNs > stat.ctimeNs ? stat.mtimeNs : stat.ctimeNs;
    // A time that is ahead of us: the clock was set back, and what is written now gets another one.
    return Math.abs(Date.now() - Number(changedNs / 1_000_000n)) >= this.#settleMs;
  }

  /** Takes a damaged or missing piece out and counts it. */
  lost(segment: Segment, slot: number): void {
    if (segment.gone || !segment.has(slot)) return;
    this.#metrics.storeCorrupt.inc();
    this.#catalog.dropPiece(segment, slot);
  }

  async #read(segment: Segment, slot: number, wantedBytes: number): Promise<Verdict> {
    let file: OpenFile;
    try {
      file = await this.#files.acquire(segment);
    } catch (error) {
      await this.#openFailed(segment, error);
      return null;
    }
    const bytes = this.#buffer(segment.pieceLength(slot));
    let isKept = false;
    try {
      const before = this.#disk.stat(file.fd);
      // Asked before the read: a change that began shortly before it may reach the bytes only after it.
      const settled = this.isSettled(before);
      const whole = await readFully(this.#disk, file.fd, bytes, slot * PIECE_BYTES);
      if (!whole || !(await this.#matches(bytes, segment.digestOf(slot)))) {
        this.lost(segment, slot);
        return null;
      }
      const after = this.#disk.stat(file.fd);
      this.#residency.add(segment, slot);
      // Somebody unlinked it: these bytes are good, but the file is no longer in the cache.
      if (after.nlink === 0n && !segment.gone) this.#catalog.removeSegment(segment);
      const trusted = settled && !segment.gone && sameState(before, after);
      if (trusted) this.trust(segment, slot, after);
      isKept = this.#verified({ segment, slot, bytes, wantedBytes, trusted }) || !trusted;
      return trusted ? 'trusted' : bytes;
    } catch (error) {
      if (errorCode(error) === '') throw error;
      // A piece that can't be read is as good as none: read again from elsewhere, it is written anew.
      this.lost(segment, slot);
      return null;
    } finally {
      if (!isKept) this.#giveBack(bytes);
      file.release();
    }
  }

  #buffer(length: number): Uint8Array {
    const spare = length === PIECE_BYTES ? this.#spare.pop() : undefined;
    return spare ?? new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  }

  /** For the next piece: a fresh megabyte for each costs page faults and the collector's time. */
  #giveBack(bytes: Uint8Array): void {
    if (bytes.byteLength === PIECE_BYTES && this.#spare.length < MAX_SPARE_BUFFERS) this.#spare.push(bytes);
  }

  /** The whole segment is lost when its file is; any other failure to open says nothing of the bytes. */
  async #openFailed(segment: Segment, error: unknown): Promise<void> {
    if (segment.gone) return;
    const code = errorCode(error);
    const isLost =
      LOST_FILE_CODES.has(code) || (REFUSED_CODES.has(code) && (await this.#isReachable(segment)));
    if (!isLost) throw error;
    if (segment.gone) return;
    for (let slot = 0; slot < segment.pieceCount; slot += 1)
      if (segment.has(slot)) this.#metrics.storeCorrupt.inc();
    this.#catalog.removeSegment(segment);
  }

  /** Whether the directory and its disk work, so that the trouble is this file's: statfs(2) of it asks for no right to it. */
  async #isReachable(segment: Segment): Promise<boolean> {
    try {
      await this.#disk.freeSpace(this.#files.pathOf(segment));
      return true;
    } catch {
      return false;
    }
  }

  async #matches(bytes: Uint8Array, expected: Uint8Array): Promise<boolean> {
    // The catalog may take the digest back while we hash.
    const wanted = Buffer.from(expected.slice(0, SHA256_BYTES));
    const hash = createHash('sha256');
    for (let from = 0; from < bytes.byteLength; from += HASH_STEP_BYTES) {
      if (from > 0) await nextTurn();
      hash.update(bytes.subarray(from, from + HASH_STEP_BYTES));
    }
    return wanted.equals(hash.digest());
  }
}

export function sameState(a: FileStat, b: FileStat): boolean {
  return (
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.size === b.size &&
    a.ino === b.ino &&
    a.dev === b.dev
  );
}
