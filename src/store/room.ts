import { join } from 'node:path';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Catalog } from './catalog.ts';
import { type DiskLayer, errorCode } from './disk-layer.ts';
import type { FreeSpaceWatch } from './free-space.ts';
import type { SpareFile } from './index-protocol.ts';
import type { Ledger } from './ledger.ts';
import type { OpenFiles } from './open-files.ts';
import type { Segment } from './segment.ts';

/** Files that one write may remove at most to make room for itself. */
const MAX_EVICTIONS = 512;
/** Unlinks under way at once: they share the thread pool with reads. */
const UNLINKS_AT_ONCE = 4;

/**
 * Makes room before anything is written. Least recently used segments go first; those being read or written never do,
 * so what cannot be removed makes a write be declined. Bytes count as free when their file is unlinked, not before.
 */
export class Room {
  readonly #ledger: Ledger;
  readonly #catalog: Catalog;
  readonly #files: OpenFiles;
  readonly #disk: DiskLayer;
  readonly #space: FreeSpaceWatch;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #dir: string;
  readonly #minFreeBytes: number;
  readonly #unlinking = new Set<Promise<void>>();
  /** What those give back to the quota; until then it is on the account. */
  #leavingBytes = 0;
  /** Files of other formats, to go before anything of ours; the next one last. */
  #spare: SpareFile[] = [];
  /** Files that could not be unlinked; they stay on the account until they can. */
  readonly #strays = new Map<string, number>();

  constructor(options: {
    ledger: Ledger;
    catalog: Catalog;
    files: OpenFiles;
    disk: DiskLayer;
    space: FreeSpaceWatch;
    metrics: Metrics;
    log: Logger;
    /** Directory of the segment files. */
    dir: string;
    minFreeBytes: number;
  }) {
    this.#ledger = options.ledger;
    this.#catalog = options.catalog;
    this.#files = options.files;
    this.#disk = options.disk;
    this.#space = options.space;
    this.#metrics = options.metrics;
    this.#log = options.log;
    this.#dir = options.dir;
    this.#minFreeBytes = options.minFreeBytes;
    this.#catalog.onRemoved((segment) => this.#discard(segment));
  }

  /**
   * Sets `bytes` of the quota aside; the caller gives them back by `ledger.unreserve` once the file's own charge covers
   * them.
   * @param segment the one to be written, which is not evicted for its own sake.
   * @returns why there is no room, or null.
   */
  async reserve(
    bytes: number,
    segment: Segment | undefined,
  ): Promise<'no-room' | 'disk-full' | 'disk-error' | null> {
    try {
      return await this.#reserve(bytes, segment);
    } catch (error) {
      // statfs(2) of the directory itself failed: it was removed, or its disk was.
      this.#log.debug({ code: errorCode(error) }, 'the free space of the cache directory cannot be told');
      return 'disk-error';
    }
  }

  async #reserve(bytes: number, segment: Segment | undefined): Promise<'no-room' | 'disk-full' | null> {
    if (!this.#space.isFresh) await this.#space.refresh();
    if (segment !== undefined && !segment.created && this.#space.outOfFiles) {
      if (!(await this.#evict(1, segment))) return 'disk-full';
    }
    const lacking = this.#minFreeBytes + bytes - this.#space.freeBytes;
    if (lacking > 0) {
      if (!(await this.#evict(lacking, segment))) return 'disk-full';
      await this.#space.refresh();
      if (this.#space.freeBytes - bytes < this.#minFreeBytes) return 'disk-full';
    }
    // The check and the reservation are one step of the loop, so two writers can't both take the last bytes.
    for (let tries = 0; this.#ledger.overBytes + bytes > 0; tries += 1) {
      if (tries === 8 || !(await this.#evictForQuota(this.#ledger.overBytes + bytes, segment)))
        return 'no-room';
    }
    this.#ledger.reserve(bytes);
    this.#space.wrote(bytes);
    return null;
  }

  /**
   * Removes one segment after the disk said that it is full.
   * @param except the one for which room is made.
   * @returns false when nothing may be removed.
   */
  async freeSome(except?: Segment): Promise<boolean> {
    const gone = await this.#evict(1, except);
    if (gone) await this.#space.refresh();
    return gone;
  }

  /** Brings the account under the quota: at start, when the quota was lowered, and before the index grows. */
  async settle(): Promise<boolean> {
    while (this.#ledger.overBytes > 0) {
      if (!(await this.#evictForQuota(this.#ledger.overBytes, undefined))) return false;
    }
    return true;
  }

  /** Evicts when others have eaten the space that should stay free; tries stray files again. */
  async maintain(): Promise<void> {
    await this.#space.refresh();
    const lacking = this.#minFreeBytes - this.#space.freeBytes;
    if (lacking > 0) await this.#evict(lacking, undefined);
    for (const [name, charged] of [...this.#strays]) {
      this.#strays.delete(name);
      await this.#unlink(name, charged);
    }
    await this.settle();
  }

  /** Files of nobody's that may go when room is needed, in this order. Their bytes are in the account already. */
  mayRemove(files: readonly SpareFile[]): void {
    this.#spare = [...files].reverse();
  }

  /** Waits for removals under way. */
  async quiet(): Promise<void> {
    while (this.#unlinking.size > 0) await Promise.all(this.#unlinking);
  }

  /**
   * Several may be over the quota at once (a write, the index, the upkeep), and on a slow disk for long: what one of them
   * has taken out already is not taken out again by the next. Callers look again afterwards.
   */
  #evictForQuota(overBytes: number, except: Segment | undefined): Promise<boolean> {
    return this.#evict(Math.max(0, overBytes - this.#leavingBytes), except);
  }

  /** @returns true when something was freed, or is just being freed by somebody else. */
  async #evict(wantedBytes: number, except: Segment | undefined): Promise<boolean> {
    const others = [...this.#unlinking];
    let planned = 0;
    let count = 0;
    while (planned < wantedBytes && count < MAX_EVICTIONS) {
      while (this.#unlinking.size >= UNLINKS_AT_ONCE) await Promise.race(this.#unlinking);
      const spare = this.#spare.pop();
      if (spare !== undefined) {
        planned += spare.bytes;
        count += 1;
        this.#leaves(this.#removeSpare(spare), spare.bytes);
        continue;
      }
      const victim = this.#catalog.oldestEvictable(except);
      if (victim === null) break;
      planned += victim.chargedBytes;
      count += 1;
      this.#metrics.evictedSegments.inc();
      this.#metrics.evictedBytes.inc(victim.chargedBytes);
      this.#catalog.removeSegment(victim);
    }
    if (count === 0 && others.length === 0) return false;
    await this.quiet();
    return true;
  }

  #discard(segment: Segment): void {
    this.#files.retire(segment);
    this.#leaves(this.#remove(segment), segment.chargedBytes);
  }

  #leaves(removing: Promise<void>, bytes: number): void {
    this.#leavingBytes += bytes;
    const removal = removing.finally(() => {
      this.#leavingBytes -= bytes;
      this.#unlinking.delete(removal);
    });
    this.#unlinking.add(removal);
  }

  async #remove(segment: Segment): Promise<void> {
    // A file that is just being born is removed once it is there.
    if (segment.opening !== null) await segment.opening.catch(() => undefined);
    if (!segment.created) {
      this.#ledger.chargeSegment(-segment.chargedBytes);
      return;
    }
    await this.#unlink(segment.fileName, segment.chargedBytes);
  }

  async #removeSpare({ path, bytes }: SpareFile): Promise<void> {
    try {
      await this.#disk.unlink(path);
    } catch (error) {
      // It stays on the account, and the next ones go.
      if (errorCode(error) !== 'ENOENT') return;
    }
    this.#ledger.otherGone(bytes);
  }

  async #unlink(name: string, chargedBytes: number): Promise<void> {
    try {
      await this.#disk.unlink(join(this.#dir, name));
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'ENOENT') {
        if (this.#strays.size === 0)
          this.#log.warn(
            { file: name, code },
            'a segment file cannot be removed; it still counts, and is tried again',
          );
        this.#strays.set(name, chargedBytes);
        return;
      }
    }
    this.#ledger.chargeSegment(-chargedBytes);
    this.#ledger.fileGone();
    this.#metrics.diskUsage.set(this.#ledger.allocatedBytes);
  }
}
