import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import type { Digest } from '../blob/digest.ts';
import type { BlobCatalog, PieceSink, PieceSource } from '../blob/source.ts';
import { DamselflyError } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Catalog } from './catalog.ts';
import { TooLate, within } from './deadline.ts';
import { type DiskLayer, realDisk } from './disk-layer.ts';
import { DiskSink } from './disk-sink.ts';
import { DiskSource } from './disk-source.ts';
import { StoredFacts } from './fact-table.ts';
import type { FactTable } from './facts.ts';
import { FreeSpaceWatch } from './free-space.ts';
import { Gate } from './gate.ts';
import { type DiskFault, DiskHealth } from './health.ts';
import { IndexError, type IndexPort, WorkerIndex } from './index-port.ts';
import { type IndexContents, PAGE_BYTES, PAGES_PER_ROW } from './index-protocol.ts';
import { IndexWriter } from './index-writer.ts';
import { segmentsPath } from './layout.ts';
import { Ledger } from './ledger.ts';
import { Maintenance } from './maintenance.ts';
import { MemorySource } from './memory-source.ts';
import { OpenFiles } from './open-files.ts';
import { Residency } from './residency.ts';
import { Room } from './room.ts';
import { SETTLE_MS, Verifier } from './verifier.ts';

export interface StoreOptions {
  readonly dir: string;
  /** Quota: allocated bytes of everything under `dir`. */
  readonly maxBytes: number;
  /** Bytes of the file system that stay free for others. */
  readonly minFreeBytes: number;
  /** Bytes of the memory tier; 0 switches it off. */
  readonly memoryBytes: number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** How much of what was read or written last is believed to be in the page cache. Default: half of the memory. */
  readonly residentBytes?: number;
  readonly disk?: DiskLayer;
  readonly tuning?: Partial<StoreTuning>;
}

/** What tests turn; the defaults are for production. */
export interface StoreTuning {
  readonly index: IndexPort;
  readonly openTimeoutMs: number;
  readonly lockWaitMs: number;
  readonly writeTimeoutMs: number;
  readonly readTimeoutMs: number;
  readonly probeMs: number;
  readonly indexDelayMs: number;
  readonly settleMs: number;
  readonly maintainMs: number;
  readonly maxOpenFiles: number;
  readonly writesAtOnce: number;
  readonly queuedWrites: number;
  readonly readsAtOnce: number;
  /** Milliseconds since the epoch: the clock of the LRU order. */
  readonly now: () => number;
}

export interface StoreUsage {
  /** Allocated bytes of everything under the directory. */
  readonly allocatedBytes: number;
  readonly maxBytes: number;
  readonly blobs: number;
  readonly pieces: number;
  /** Why pieces are not kept at present. */
  readonly degraded: DiskFault | null;
}

export interface Store {
  readonly disk: PieceSource;
  readonly memory: MemorySource;
  readonly sink: PieceSink;
  readonly catalog: BlobCatalog;
  readonly facts: FactTable;
  usage(): StoreUsage;
  /** Keeps what is here of a blob from being evicted. @returns a function that lets go again. */
  pin(digest: Digest): () => void;
  /** Commits the index. Never throws; on a failing disk it gives up after a while. */
  flush(): Promise<void>;
  /** Stops writing, commits the index, closes files and the lock. Slices still in flight keep their file until released. */
  close(): Promise<void>;
}

const DEFAULTS: Omit<StoreTuning, 'index'> = {
  // A start that waits longer for its disk goes on without it.
  openTimeoutMs: 15_000,
  // A predecessor that is just stopping.
  lockWaitMs: 1_000,
  writeTimeoutMs: 2_000,
  // A ranged read has its headers within 2.5 s, from elsewhere if need be.
  readTimeoutMs: 1_500,
  probeMs: 2_000,
  indexDelayMs: 200,
  settleMs: SETTLE_MS,
  maintainMs: 15_000,
  maxOpenFiles: 512,
  writesAtOnce: 4,
  queuedWrites: 64,
  readsAtOnce: 8,
  now: Date.now,
};

/** How long flush and close wait for an index that does not answer. */
const FLUSH_TIMEOUT_MS = 3_000;
/** Room for facts and for sizes of absent blobs, as a share of the quota and in numbers. */
const SMALL_ROW_BYTES = 512;
const MAX_SMALL_ROWS = 100_000;

/**
 * Opens the cache directory. A directory that cannot be used (not writable, read-only, full, silent) makes a store
 * without a disk, which declines everything, and a warning.
 * @throws DamselflyError `cache-unusable` when another process holds the directory, or a newer version has written it.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const tuning = { ...DEFAULTS, ...options.tuning };
  const port = options.tuning?.index ?? new WorkerIndex();
  const { dir, maxBytes, log, metrics } = options;
  metrics.diskSpace.set(maxBytes);
  const health = new DiskHealth({ log, metrics, firstProbeMs: tuning.probeMs });
  const maxBatchRows = batchRows(maxBytes);
  const smallRows = Math.max(64, Math.min(MAX_SMALL_ROWS, Math.floor(maxBytes / 64 / SMALL_ROW_BYTES)));
  let contents: IndexContents;
  try {
    const opening = port.open({
      dir,
      lockWaitMs: tuning.lockWaitMs,
      maxBatchRows,
      maxFactsPerKind: smallRows,
      nowMs: Date.now(),
    });
    contents = await within(opening, tuning.openTimeoutMs);
  } catch (error) {
    const fault = faultAtOpen(dir, error);
    if (!(fault instanceof DamselflyError)) return withoutDisk(options, port, health, fault);
    await closePort(port, log);
    throw fault;
  }
  for (const note of contents.notes) log.info({ dir }, `cache: ${note}`);

  const disk = options.disk ?? realDisk;
  const ledger = new Ledger(maxBytes, maxBatchRows * PAGES_PER_ROW * PAGE_BYTES * 2);
  const writer = new IndexWriter({
    port,
    health,
    maxBatchRows,
    delayMs: tuning.indexDelayMs,
    makeRoom: () => room.settle(),
    indexMeasured: (bytes) => ledger.indexMeasured(bytes),
  });
  const memory = new MemorySource({ maxBytes: options.memoryBytes, metrics });
  const catalog = new Catalog({
    journal: writer,
    maxBareBlobs: smallRows,
    birth: Date.now().toString(36),
    now: tuning.now,
    dropped: (digest) => memory.drop(digest),
    isReadable: () => health.faultIn('read') === null,
  });
  const files = new OpenFiles({
    disk,
    dir: segmentsPath(dir),
    maxOpen: tuning.maxOpenFiles,
    born: () => ledger.fileBorn(),
  });
  const space = new FreeSpaceWatch(disk, dir);
  const room = new Room({
    ledger,
    catalog,
    files,
    disk,
    space,
    metrics,
    log,
    dir: segmentsPath(dir),
    minFreeBytes: options.minFreeBytes,
  });
  const residency = new Residency(options.residentBytes ?? defaultResidentBytes());
  const readGate = new Gate(tuning.readsAtOnce, tuning.readsAtOnce * 32);
  const verifier = new Verifier({
    catalog,
    disk,
    files,
    residency,
    metrics,
    gate: readGate,
    settleMs: tuning.settleMs,
    verified: ({ segment, slot, bytes, wantedBytes, trusted }) => {
      const { digest, info } = segment.blob;
      // Small reads of a piece whose segment is being filled would each read and hash the whole of it.
      const forced = !trusted && wantedBytes < bytes.byteLength;
      memory.admit(digest, info, segment.firstPiece + slot, bytes, { wantedBytes, forced });
    },
  });
  const source = new DiskSource(catalog, {
    disk,
    files,
    verifier,
    residency,
    health,
    gate: readGate,
    timeoutMs: tuning.readTimeoutMs,
    log,
  });
  const sink = new DiskSink({
    catalog,
    room,
    ledger,
    space,
    files,
    disk,
    health,
    residency,
    metrics,
    log,
    gate: new Gate(tuning.writesAtOnce, tuning.queuedWrites),
    timeoutMs: tuning.writeTimeoutMs,
  });

  ledger.filesFound(catalog.load(contents));
  ledger.measured(contents.footprint);
  for (const bytes of contents.segments.allocatedBytes) ledger.chargeSegment(bytes);
  await within(room.settle(), tuning.openTimeoutMs).catch(() => undefined);
  metrics.diskUsage.set(ledger.allocatedBytes);

  const maintenance = new Maintenance({ port, room, ledger, metrics, log, everyMs: tuning.maintainMs });

  const flush = async (): Promise<void> => {
    await within(writer.flush(), FLUSH_TIMEOUT_MS).catch((error: unknown) => reportLate(log, error));
  };
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    maintenance.stop();
    await sink.stop();
    await within(writer.close(), FLUSH_TIMEOUT_MS).catch((error: unknown) => reportLate(log, error));
    await within(Promise.all([room.quiet(), files.close()]), FLUSH_TIMEOUT_MS).catch((error: unknown) =>
      reportLate(log, error),
    );
    await closePort(port, log);
  };

  return {
    disk: source,
    memory,
    sink,
    catalog,
    facts: new StoredFacts(contents.facts, writer),
    usage: () => ({
      allocatedBytes: ledger.allocatedBytes,
      maxBytes,
      blobs: catalog.blobCount,
      pieces: catalog.pieceCount,
      degraded: health.degraded,
    }),
    pin: (digest) => catalog.pin(digest),
    flush,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** The node runs on: everything passes through the memory tier, nothing is kept. */
function withoutDisk(options: StoreOptions, port: IndexPort, health: DiskHealth, fault: FaultAtOpen): Store {
  const { log, metrics, maxBytes } = options;
  health.failed('index', fault.reason, { message: fault.message });
  const memory = new MemorySource({ maxBytes: options.memoryBytes, metrics });
  const catalog = new Catalog({
    journal: noJournal,
    maxBareBlobs: MAX_SMALL_ROWS,
    birth: '',
    dropped: (digest) => memory.drop(digest),
  });
  return {
    disk: { name: 'disk', open: () => null },
    memory,
    sink: {
      put: async () => {
        metrics.storeDeclined.inc({ reason: fault.reason });
        return 'declined';
      },
    },
    catalog,
    facts: new StoredFacts([], null),
    usage: () => ({
      allocatedBytes: 0,
      maxBytes,
      blobs: catalog.blobCount,
      pieces: 0,
      degraded: fault.reason,
    }),
    pin: (digest) => catalog.pin(digest),
    flush: async () => undefined,
    close: () => closePort(port, log),
  };
}

const noJournal = {
  blobChanged: () => undefined,
  blobRemoved: () => undefined,
  segmentChanged: () => undefined,
  segmentRemoved: () => undefined,
  segmentUsed: () => undefined,
};

interface FaultAtOpen {
  readonly reason: DiskFault;
  readonly message: string;
}

/** @returns an error for the two reasons for which the node must not start. */
function faultAtOpen(dir: string, error: unknown): FaultAtOpen | DamselflyError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof TooLate) return { reason: 'disk-slow', message };
  if (!(error instanceof IndexError)) return { reason: 'disk-error', message };
  if (error.failure === 'locked')
    return new DamselflyError(
      'cache-unusable',
      `The cache directory ${dir} is in use: ${message}. Stop the other process, or set cache.dir to another directory`,
      { facts: { dir }, cause: error },
    );
  if (error.failure === 'newer')
    return new DamselflyError(
      'cache-unusable',
      `The cache directory ${dir} was written by a newer version: ${message}. Run that version, or empty the directory`,
      { facts: { dir }, cause: error },
    );
  return { reason: error.failure, message };
}

/** So few rows that the index's growth by one batch stays a small part of the quota. */
function batchRows(maxBytes: number): number {
  return Math.max(4, Math.min(256, Math.floor(maxBytes / 32 / (PAGES_PER_ROW * PAGE_BYTES * 2))));
}

function defaultResidentBytes(): number {
  const limit = constrainedMemory();
  return Math.floor(Math.min(limit > 0 ? limit : Number.POSITIVE_INFINITY, totalmem()) / 2);
}

async function closePort(port: IndexPort, log: Logger): Promise<void> {
  await within(port.close(), FLUSH_TIMEOUT_MS).catch((error: unknown) => reportLate(log, error));
}

function reportLate(log: Logger, error: unknown): void {
  log.warn({ err: error }, 'the cache disk did not finish in time');
}
