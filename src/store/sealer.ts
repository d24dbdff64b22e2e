import { join } from 'node:path';
import { PIECE_BYTES } from '../blob/piece.ts';
import type { Logger } from '../observe/log.ts';
import { type DiskLayer, errorCode } from './disk-layer.ts';
import type { IndexPort } from './index-port.ts';
import type { OpenFiles } from './open-files.ts';
import type { Residency } from './residency.ts';
import type { Segment } from './segment.ts';
import { sameState, type Verifier } from './verifier.ts';

/** Segments that wait to be sealed; beyond it the oldest are left to their first reader. */
const MAX_WAITING = 1_024;

/**
 * Gives just written pieces the check that their first reader would else have to wait for: hashed in the worker thread,
 * one at a time, while nothing is written or read from the disk. Only what is still in the page cache, so no disk moves.
 */
export class Sealer {
  readonly #port: IndexPort;
  readonly #disk: DiskLayer;
  readonly #files: OpenFiles;
  readonly #verifier: Verifier;
  readonly #residency: Residency;
  readonly #log: Logger;
  readonly #dir: string;
  readonly #quietMs: number;
  readonly #waiting = new Set<Segment>();
  #lastUseMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: {
    port: IndexPort;
    disk: DiskLayer;
    files: OpenFiles;
    verifier: Verifier;
    residency: Residency;
    log: Logger;
    /** Directory of the segment files. */
    dir: string;
    /** How long the store must have had nothing to do. */
    quietMs: number;
  }) {
    this.#port = options.port;
    this.#disk = options.disk;
    this.#files = options.files;
    this.#verifier = options.verifier;
    this.#residency = options.residency;
    this.#log = options.log;
    this.#dir = options.dir;
    this.#quietMs = options.quietMs;
  }

  /** The disk is in use: not now. */
  busy(): void {
    this.#lastUseMs = performance.now();
  }

  written(segment: Segment): void {
    this.busy();
    this.#waiting.delete(segment);
    this.#waiting.add(segment);
    if (this.#waiting.size > MAX_WAITING) {
      for (const oldest of this.#waiting) {
        this.#waiting.delete(oldest);
        break;
      }
    }
    this.#schedule(this.#quietMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting.clear();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    if (this.#timer !== null || this.#stopped) return;
    this.#timer = setTimeout(() => void this.#turn(), delayMs);
    this.#timer.unref();
  }

  async #turn(): Promise<void> {
    try {
      while (this.#isQuiet()) {
        const [segment] = this.#waiting;
        if (segment === undefined) break;
        if (await this.#seal(segment)) this.#waiting.delete(segment);
      }
    } catch (error) {
      this.#waiting.clear();
      this.#log.debug({ err: error }, 'written pieces were not checked ahead of their first reader');
    } finally {
      this.#timer = null;
      if (this.#waiting.size > 0) this.#schedule(this.#quietMs);
    }
  }

  #isQuiet(): boolean {
    return !this.#stopped && performance.now() - this.#lastUseMs >= this.#quietMs;
  }

  /** @returns false when it was interrupted and is to be gone on with. */
  async #seal(segment: Segment): Promise<boolean> {
    if (segment.gone || segment.writing !== 0) return true;
    const file = await this.#files.acquire(segment).catch((error: unknown) => {
      if (errorCode(error) === '') throw error;
      return null;
    });
    // Whatever is wrong with the file, its next reader finds out.
    if (file === null) return true;
    try {
      const before = this.#disk.stat(file.fd);
      if (!this.#verifier.isSettled(before)) return true;
      for (let slot = 0; slot < segment.pieceCount; slot += 1) {
        if (!segment.has(slot) || (this.#verifier.trusted(segment, file) & (1 << slot)) !== 0) continue;
        if (!this.#residency.has(segment, slot)) continue;
        if (!this.#isQuiet()) return false;
        const expected = Buffer.from(segment.digestOf(slot));
        const result = await this.#port.hash({
          path: join(this.#dir, segment.fileName),
          offset: slot * PIECE_BYTES,
          length: segment.pieceLength(slot),
        });
        const isSame = result?.dev === before.dev && result.ino === before.ino;
        if (!isSame || !sameState(before, this.#disk.stat(file.fd))) return true;
        if (expected.equals(result.sha256)) this.#verifier.trust(segment, slot, before);
        else this.#verifier.lost(segment, slot);
      }
      return true;
    } finally {
      file.release();
    }
  }
}
