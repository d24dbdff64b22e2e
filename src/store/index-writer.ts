import type { Fact, FactKind } from './facts.ts';
import type { DiskHealth } from './health.ts';
import { faultOfIndex, isDamaged, messageOf } from './index-mount.ts';
import type { IndexPort } from './index-port.ts';
import type { FactRow, IndexBatch, SegmentRow } from './index-protocol.ts';
import type { BlobEntry, Segment } from './segment.ts';

/** Facts waiting for the index; more than this and the oldest are forgotten (a stopped disk must not eat memory). */
const MAX_PENDING_FACTS = 20_000;
/** Mere uses wait this long to be written, and no more of them go at once: reading must not wear the disk. */
const USE_DELAY_MS = 1_000;
const MAX_USES_AT_ONCE = 64;

interface SegmentKey {
  readonly blobId: number;
  readonly segment: number;
}

interface FactKey {
  readonly kind: FactKind;
  readonly key: string;
}

/**
 * Writes changes of the mirror behind, in bounded batches, one at a time. What changed is remembered as the things
 * themselves, not as rows: a segment that fills while a batch waits is written once. A row is built when its batch is
 * sent, so it speaks only of bytes that are already in the file (data before index).
 */
export class IndexWriter {
  readonly #port: IndexPort;
  readonly #health: DiskHealth;
  readonly #maxBatchRows: number;
  readonly #delayMs: number;
  readonly #makeRoom: () => Promise<boolean>;
  readonly #freeSome: () => Promise<unknown>;
  readonly #rebuild: () => Promise<void>;
  readonly #indexMeasured: (bytes: number) => void;

  readonly #removedBlobs = new Set<number>();
  readonly #removedSegments = new Map<string, SegmentKey>();
  readonly #blobs = new Set<BlobEntry>();
  readonly #segments = new Set<Segment>();
  readonly #used = new Set<Segment>();
  readonly #facts = new Map<string, Fact & FactKey>();
  readonly #removedFacts = new Map<string, FactKey>();

  #timer: NodeJS.Timeout | null = null;
  #dueMs = 0;
  #writing: Promise<void> | null = null;
  #closed = false;

  constructor(options: {
    port: IndexPort;
    health: DiskHealth;
    maxBatchRows: number;
    /** How long changes are gathered. */
    delayMs: number;
    /** Brings the quota in order before the index may grow; false puts the batch off. */
    makeRoom: () => Promise<boolean>;
    /** Evicts something, since the disk has no room for the index. */
    freeSome: () => Promise<unknown>;
    /** Puts a new index in the place of one that is damaged, and has everything written to it. */
    rebuild: () => Promise<void>;
    indexMeasured: (bytes: number) => void;
  }) {
    this.#port = options.port;
    this.#health = options.health;
    this.#maxBatchRows = options.maxBatchRows;
    this.#delayMs = options.delayMs;
    this.#makeRoom = options.makeRoom;
    this.#freeSome = options.freeSome;
    this.#rebuild = options.rebuild;
    this.#indexMeasured = options.indexMeasured;
  }

  blobChanged(blob: BlobEntry): void {
    this.#blobs.add(blob);
    this.#schedule();
  }

  blobRemoved(blob: BlobEntry): void {
    this.#blobs.delete(blob);
    // What the index never heard of need not be taken back: nothing piles up while it is out of reach.
    if (!blob.saved) return;
    this.#removedBlobs.add(blob.id);
    this.#schedule();
  }

  segmentChanged(segment: Segment): void {
    this.#segments.add(segment);
    this.#schedule();
  }

  segmentRemoved(segment: Segment): void {
    this.#segments.delete(segment);
    this.#used.delete(segment);
    if (!segment.saved) return;
    const key = { blobId: segment.blob.id, segment: segment.index };
    this.#removedSegments.set(`${key.blobId}/${key.segment}`, key);
    this.#schedule();
  }

  segmentUsed(segment: Segment): void {
    this.#used.add(segment);
    this.#schedule(Math.max(this.#delayMs, USE_DELAY_MS));
  }

  factPut(kind: FactKind, fact: Fact): void {
    const id = `${kind} ${fact.key}`;
    this.#removedFacts.delete(id);
    this.#facts.delete(id);
    this.#facts.set(id, { kind, ...fact });
    dropOldest(this.#facts, MAX_PENDING_FACTS);
    this.#schedule();
  }

  factRemoved(kind: FactKind, key: string): void {
    const id = `${kind} ${key}`;
    this.#facts.delete(id);
    this.#removedFacts.set(id, { kind, key });
    dropOldest(this.#removedFacts, MAX_PENDING_FACTS);
    this.#schedule();
  }

  get hasPending(): boolean {
    return (
      this.#removedBlobs.size > 0 ||
      this.#removedSegments.size > 0 ||
      this.#blobs.size > 0 ||
      this.#segments.size > 0 ||
      this.#used.size > 0 ||
      this.#facts.size > 0 ||
      this.#removedFacts.size > 0
    );
  }

  /** Everything that had changed when this was called is in the index, or the index is at fault. */
  async flush(): Promise<void> {
    if (this.#writing !== null) await this.#writing;
    await this.#write(Number.POSITIVE_INFINITY);
  }

  /** Writes what is left and stops. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await this.flush();
  }

  #schedule(delayMs = this.#delayMs): void {
    if (this.#writing !== null || this.#closed) return;
    const dueMs = performance.now() + delayMs;
    if (this.#timer !== null) {
      if (this.#dueMs <= dueMs) return;
      clearTimeout(this.#timer);
    }
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#write(MAX_USES_AT_ONCE);
    }, delayMs);
    this.#timer.unref();
  }

  #write(maxUses: number): Promise<void> {
    this.#writing ??= this.#writeBatches(maxUses).finally(() => {
      this.#writing = null;
      // Put off: the disk is full or at fault, so not at once again.
      if (this.hasPending) this.#schedule(Math.max(1_000, this.#delayMs));
    });
    return this.#writing;
  }

  /** Never throws: the index at fault is a state of the disk. */
  async #writeBatches(maxUses: number): Promise<void> {
    // Bounded by what is pending now, so that a flush ends while changes keep coming.
    let uses = Math.min(maxUses, this.#used.size);
    for (let left = this.#pendingRows() + uses; left > 0; left -= this.#maxBatchRows) {
      if (!(await this.#makeRoom())) return;
      const batch = this.#takeBatch(uses);
      uses -= batch.rows.used.length;
      try {
        this.#indexMeasured(await this.#port.apply(batch.rows));
        this.#health.succeeded('index');
      } catch (error) {
        batch.giveBack();
        const fault = faultOfIndex(error);
        this.#health.failed('index', fault, { message: messageOf(error) });
        if (fault === 'disk-full') await this.#freeSome();
        if (isDamaged(error)) await this.#rebuild();
        return;
      }
    }
  }

  /** Without the uses. */
  #pendingRows(): number {
    return (
      this.#removedBlobs.size +
      this.#removedSegments.size +
      this.#blobs.size +
      this.#segments.size +
      this.#facts.size +
      this.#removedFacts.size
    );
  }

  /**
   * The next rows: removals first, so that a row of an evicted segment never replaces that of its successor.
   */
  #takeBatch(maxUses: number): { rows: IndexBatch; giveBack: () => void } {
    let left = this.#maxBatchRows;
    const take = <T>(from: Set<T>, max = left): T[] => {
      const taken: T[] = [];
      for (const item of from) {
        if (left === 0 || taken.length === max) break;
        left -= 1;
        from.delete(item);
        taken.push(item);
      }
      return taken;
    };
    const takeMap = <T>(from: Map<string, T>): [string, T][] => {
      const taken: [string, T][] = [];
      for (const entry of from) {
        if (left === 0) break;
        left -= 1;
        from.delete(entry[0]);
        taken.push(entry);
      }
      return taken;
    };
    const removedBlobs = take(this.#removedBlobs);
    const removedSegments = takeMap(this.#removedSegments);
    const blobs = take(this.#blobs);
    const segments = take(this.#segments);
    const removedFacts = takeMap(this.#removedFacts);
    const facts = takeMap(this.#facts);
    const used = take(this.#used, maxUses);
    for (const blob of blobs) blob.saved = true;
    for (const segment of segments) segment.saved = true;
    for (const segment of [...segments, ...used]) segment.savedUsedAtMs = segment.usedAtMs;

    return {
      rows: {
        removedBlobs,
        removedSegments: removedSegments.map(([, key]) => key),
        blobs: blobs.map((blob) => ({
          id: blob.id,
          digest: blob.digest,
          size: blob.info.size,
          mediaType: blob.info.mediaType ?? null,
          proven: blob.proven,
        })),
        segments: segments.map(segmentRow),
        removedFacts: removedFacts.map(([, key]) => key),
        facts: facts.map(([, fact]) => factRow(fact)),
        used: used.map(({ blob, index, usedAtMs }) => ({ blobId: blob.id, segment: index, usedAtMs })),
      },
      giveBack: () => {
        for (const id of removedBlobs) this.#removedBlobs.add(id);
        for (const [id, key] of removedSegments) this.#removedSegments.set(id, key);
        for (const blob of blobs) if (!this.#removedBlobs.has(blob.id)) this.#blobs.add(blob);
        for (const segment of segments) if (!segment.gone) this.#segments.add(segment);
        for (const segment of used) if (!segment.gone) this.#used.add(segment);
        for (const [id, key] of removedFacts) if (!this.#facts.has(id)) this.#removedFacts.set(id, key);
        for (const [id, fact] of facts)
          if (!this.#facts.has(id) && !this.#removedFacts.has(id)) this.#facts.set(id, fact);
      },
    };
  }
}

function dropOldest(map: Map<string, unknown>, maxSize: number): void {
  if (map.size <= maxSize) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}

function segmentRow(segment: Segment): SegmentRow {
  return {
    blobId: segment.blob.id,
    segment: segment.index,
    file: segment.fileName,
    present: segment.present,
    usedAtMs: segment.usedAtMs,
    // A copy: a view would carry the whole buffer that it looks into across the thread boundary.
    digests: segment.digests.slice(),
  };
}

function factRow(fact: Fact & FactKey): FactRow {
  const { kind, key, value, expiresAtMs } = fact;
  return { kind, key, value, expiresAtMs: Number.isFinite(expiresAtMs) ? expiresAtMs : null };
}
