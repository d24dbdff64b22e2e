import { PIECE_BYTES, pieceCount, pieceLength, SEGMENT_PIECES } from '../blob/piece.ts';
import type { KnownBlob, PieceSink } from '../blob/source.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Catalog } from './catalog.ts';
import { TooLate, within } from './deadline.ts';
import { allocatedBytes, type DiskLayer, errorCode, LOST_FILE_CODES, writeFully } from './disk-layer.ts';
import type { FreeSpaceWatch } from './free-space.ts';
import type { Gate } from './gate.ts';
import { type DeclineReason, type DiskHealth, faultOf } from './health.ts';
import type { Ledger } from './ledger.ts';
import type { OpenFiles } from './open-files.ts';
import type { Residency } from './residency.ts';
import type { Room } from './room.ts';
import { type Segment, SHA256_BYTES } from './segment.ts';

/** Blocks of an extent tree that a fragmented file may get when it is written back, after we looked at its size. */
const EXTENT_BYTES = 8192;
const NEW_ENTRY_BYTES = 512;
/** Files up to here have their few extents in the inode. */
const SMALL_FILE_BYTES = 16 * 1024;

/** One write that may outlive the patience of whoever asked for it. */
interface Attempt {
  readonly segment: Segment;
  readonly slot: number;
  readonly bytes: Uint8Array;
  readonly sha256: Uint8Array;
  /** The answer is given: whatever still comes of it is not to be believed. */
  expired: boolean;
}

/**
 * Writes pieces in place. Order of one put: room, file, bytes, presence; the index follows later. The answer comes
 * within the deadline, while the place in the gate and the piece's `writing` mark are kept until the disk has really
 * answered: a late write may still change that piece (and only that one), so it is not written again before.
 */
export class DiskSink implements PieceSink {
  readonly #catalog: Catalog;
  readonly #room: Room;
  readonly #ledger: Ledger;
  readonly #space: FreeSpaceWatch;
  readonly #files: OpenFiles;
  readonly #disk: DiskLayer;
  readonly #health: DiskHealth;
  readonly #residency: Residency;
  readonly #written: (segment: Segment) => void;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #gate: Gate;
  readonly #timeoutMs: number;
  readonly #inFlight = new Map<number, Promise<'stored' | 'declined'>>();
  #stopped = false;

  constructor(options: {
    catalog: Catalog;
    room: Room;
    ledger: Ledger;
    space: FreeSpaceWatch;
    files: OpenFiles;
    disk: DiskLayer;
    health: DiskHealth;
    residency: Residency;
    /** A piece of it has just been written. */
    written: (segment: Segment) => void;
    metrics: Metrics;
    log: Logger;
    gate: Gate;
    timeoutMs: number;
  }) {
    this.#catalog = options.catalog;
    this.#room = options.room;
    this.#ledger = options.ledger;
    this.#space = options.space;
    this.#files = options.files;
    this.#disk = options.disk;
    this.#health = options.health;
    this.#residency = options.residency;
    this.#written = options.written;
    this.#metrics = options.metrics;
    this.#log = options.log;
    this.#gate = options.gate;
    this.#timeoutMs = options.timeoutMs;
  }

  put(blob: KnownBlob, piece: number, bytes: Uint8Array, sha256: Uint8Array): Promise<'stored' | 'declined'> {
    if (this.#stopped) return this.#decline('stopped');
    if (blob.size === 0)
      return Promise.resolve(
        this.#catalog.record(blob.digest, { size: 0, mediaType: undefined }) ? 'stored' : 'declined',
      );
    if (
      piece >= pieceCount(blob.size) ||
      bytes.byteLength !== pieceLength(piece, blob.size) ||
      sha256.byteLength !== SHA256_BYTES
    )
      return this.#decline('disk-error');
    if (this.#catalog.isStored(blob.digest, piece)) return Promise.resolve('stored');
    const fault = this.#health.faultIn('index') ?? this.#health.refuses('write');
    if (fault !== null) return this.#decline(fault);
    if (this.#gate.isFull) return this.#decline('busy');

    const segment = this.#catalog.segmentFor(blob.digest, blob.size, piece);
    if (segment === null) return this.#decline('disk-error');
    const slot = piece % SEGMENT_PIECES;
    const key = segment.serial * SEGMENT_PIECES + slot;
    const joined = this.#inFlight.get(key);
    if (joined !== undefined) return joined;
    const attempt: Attempt = { segment, slot, bytes, sha256, expired: false };
    segment.writing |= 1 << slot;
    const work = this.#gate
      .run(() => this.#attempt(attempt))
      .finally(() => {
        this.#inFlight.delete(key);
        segment.writing &= ~(1 << slot);
        if (!segment.has(slot)) this.#catalog.notWritten(segment);
        if (segment.present === 0 && segment.writing === 0) this.#catalog.removeSegment(segment);
      });
    const answer = this.#answer(attempt, work);
    this.#inFlight.set(key, answer);
    return answer;
  }

  /** No more puts; waits for those that still have time. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#inFlight.values());
  }

  async #answer(attempt: Attempt, work: Promise<DeclineReason | null>): Promise<'stored' | 'declined'> {
    try {
      const reason = await within(work, this.#timeoutMs);
      return reason === null ? 'stored' : await this.#decline(reason);
    } catch (error) {
      attempt.expired = true;
      if (error instanceof TooLate) {
        this.#health.failed('write', 'disk-slow');
        return await this.#decline('disk-slow');
      }
      this.#log.error({ err: error }, 'a piece could not be kept');
      return await this.#decline('disk-error');
    }
  }

  #decline(reason: DeclineReason): Promise<'declined'> {
    this.#metrics.storeDeclined.inc({ reason });
    return Promise.resolve('declined');
  }

  /** Never throws for the disk's trouble. @returns why not, or null when the piece is here. */
  async #attempt(attempt: Attempt): Promise<DeclineReason | null> {
    for (let again = false; ; again = true) {
      if (attempt.expired) return 'disk-slow';
      if (this.#stopped) return 'stopped';
      if (attempt.segment.gone) return 'busy';
      try {
        return await this.#write(attempt);
      } catch (error) {
        const reason = await this.#afterError(attempt, error, again);
        if (reason !== null) return reason;
      }
    }
  }

  /** @returns null to try once more. */
  async #afterError(attempt: Attempt, error: unknown, again: boolean): Promise<DeclineReason | null> {
    const code = errorCode(error);
    if (code === '') throw error;
    const { segment } = attempt;
    if (LOST_FILE_CODES.has(code) || code === 'EEXIST') {
      // The file vanished, or something else has its place: a new segment gets a new name.
      this.#catalog.removeSegment(segment);
      return 'busy';
    }
    switch (code) {
      case 'EMFILE':
      case 'ENFILE':
        this.#files.trim(0);
        return 'busy';
      case 'ENOSPC':
      case 'EDQUOT':
        if (!again && (await this.#room.freeSome(segment))) return null;
        break;
    }
    const fault = faultOf(code);
    this.#health.failed('write', fault, { code });
    return fault;
  }

  async #write(attempt: Attempt): Promise<DeclineReason | null> {
    const { segment, slot, bytes } = attempt;
    const isNew = !segment.created;
    const extentBytes = segment.lengthBytes > SMALL_FILE_BYTES ? EXTENT_BYTES : 0;
    const block = this.#space.blockBytes;
    const bytesWanted =
      Math.ceil(bytes.byteLength / block) * block + (isNew ? extentBytes + NEW_ENTRY_BYTES : 0);
    const refusal = await this.#room.reserve(bytesWanted, segment);
    if (refusal !== null && refusal !== 'no-room') this.#health.failed('write', refusal);
    if (refusal !== null) return refusal;
    try {
      const file = await this.#files.acquire(segment);
      try {
        if (segment.chargedBytes === 0 && !segment.gone) this.#charge(segment, extentBytes);
        await writeFully(this.#disk, file.fd, bytes, slot * PIECE_BYTES);
        const stat = this.#disk.stat(file.fd);
        if (!segment.gone) this.#charge(segment, allocatedBytes(stat) + extentBytes);
        if (attempt.expired) return 'disk-slow';
        if (stat.nlink === 0n && !segment.gone) this.#catalog.removeSegment(segment);
        if (segment.gone) return 'busy';
      } finally {
        file.release();
      }
    } finally {
      this.#ledger.unreserve(bytesWanted);
    }
    this.#catalog.pieceWritten(segment, slot, attempt.sha256);
    this.#residency.add(segment, slot);
    this.#written(segment);
    this.#health.succeeded('write');
    this.#metrics.diskUsage.set(this.#ledger.allocatedBytes);
    return null;
  }

  #charge(segment: Segment, bytes: number): void {
    this.#ledger.chargeSegment(bytes - segment.chargedBytes);
    segment.chargedBytes = bytes;
  }
}
