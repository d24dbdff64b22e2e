import type { Digest } from '../blob/digest.ts';
import type { BlobCatalog, PieceSink, PieceSource } from '../blob/source.ts';
import type { Logger } from '../observe/log.ts';
import { boundedDisk, diskThreads } from './bounded-disk.ts';
import { type StoreCare, storeCare } from './care.ts';
import { Catalog } from './catalog.ts';
import { within } from './deadline.ts';
import { realDisk } from './disk-layer.ts';
import { DiskSink } from './disk-sink.ts';
import { DiskSource } from './disk-source.ts';
import { StoredFacts } from './fact-table.ts';
import type { FactTable } from './facts.ts';
import { FreeSpaceWatch } from './free-space.ts';
import { Gate } from './gate.ts';
import { type DiskFault, DiskHealth } from './health.ts';
import { type Held, heldPieces } from './held.ts';
import { faultOfIndex, IndexMount, messageOf } from './index-mount.ts';
import { WorkerIndex } from './index-port.ts';
import { IndexWriter } from './index-writer.ts';
import { segmentsPath } from './layout.ts';
import { Ledger } from './ledger.ts';
import { Maintenance } from './maintenance.ts';
import { MemorySource } from './memory-source.ts';
import { OpenFiles } from './open-files.ts';
import { Residency } from './residency.ts';
import { Room } from './room.ts';
import { Sealer } from './sealer.ts';
import {
  batchGrowthBytes,
  batchRows,
  DEFAULT_TUNING,
  defaultResidentBytes,
  type StoreOptions,
  smallRows,
} from './store-options.ts';
import { Verifier } from './verifier.ts';

export type { StoreOptions, StoreTuning } from './store-options.ts';

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
  readonly catalog: BlobCatalog & Pick<Catalog, 'pieceDigest'>;
  readonly facts: FactTable;
  /** What people ask of the store: what it has, and to check, tidy and empty it. */
  readonly care: StoreCare;
  usage(): StoreUsage;
  /** Keeps what is here of a blob from being evicted. @returns a function that lets go again. */
  pin(digest: Digest): () => void;
  /** Blobs of which something is here, most recently read first, with their pieces. */
  held(): Held[];
  /** Takes one piece off the node: whoever vouched for it is not believed any more. */
  dropPiece(digest: Digest, piece: number): void;
  /** Commits the index. Never throws; on a failing disk it gives up after a while. */
  flush(): Promise<void>;
  /** Stops writing, commits the index, closes files and the lock. Slices still in flight keep their file until released. */
  close(): Promise<void>;
}

/** How long flush and close wait for a disk that does not answer. */
const FLUSH_TIMEOUT_MS = 3_000;

/**
 * Opens the cache directory. One that cannot be used (not writable, read-only, full, silent) makes a store that
 * declines everything, with a warning, until it can.
 * @throws DamselflyError `cache-unusable` when another process holds the directory.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { dir, maxBytes, log, metrics } = options;
  const tuning = { ...DEFAULT_TUNING, ...options.tuning };
  const port = options.tuning?.index ?? new WorkerIndex();
  const disk = boundedDisk(options.disk ?? realDisk, diskThreads());
  const segmentsDir = segmentsPath(dir);
  const maxBatchRows = batchRows(maxBytes);
  metrics.diskSpace.set(maxBytes);

  const health = new DiskHealth({ log, metrics, firstProbeMs: tuning.probeMs });
  const ledger = new Ledger(maxBytes, batchGrowthBytes(maxBatchRows));
  const memory = new MemorySource({ maxBytes: options.memoryBytes, metrics });
  const mount: IndexMount = new IndexMount({
    port,
    index: { dir, lockWaitMs: tuning.lockWaitMs, maxBatchRows, maxFactsPerKind: smallRows(maxBytes) },
    health,
    log,
    opened: (contents) => {
      ledger.filesFound(catalog.load(contents));
      ledger.measured(contents.footprint);
      for (const bytes of contents.segments.allocatedBytes) ledger.chargeSegment(bytes);
      facts.loaded(contents.facts);
      room.mayRemove(contents.spare);
      metrics.storeCorrupt.inc(contents.damagedPieces);
      metrics.diskUsage.set(ledger.allocatedBytes);
    },
  });
  const writer: IndexWriter = new IndexWriter({
    port,
    health,
    maxBatchRows,
    delayMs: tuning.indexDelayMs,
    // Also puts everything off while there is no index to write to.
    makeRoom: async () => mount.isOpen && (await room.settle()),
    freeSome: () => room.freeSome().catch(() => undefined),
    rebuild: () => rebuildIndex(),
    indexMeasured: (bytes) => ledger.indexMeasured(bytes),
  });
  const rebuildIndex = async (): Promise<void> => {
    try {
      await port.rebuild();
      catalog.retell();
      log.warn({ dir }, 'the cache index was damaged or removed while the node ran; it is written anew');
    } catch (error) {
      health.failed('index', faultOfIndex(error), { message: messageOf(error) });
    }
  };
  const catalog = new Catalog({
    journal: writer,
    maxBareBlobs: smallRows(maxBytes),
    now: tuning.now,
    dropped: (digest) => memory.drop(digest),
    events: options.events,
    isReadable: () => health.faultIn('read') === null,
  });
  const facts = new StoredFacts(writer);
  const files = new OpenFiles({
    disk,
    dir: segmentsDir,
    maxOpen: tuning.maxOpenFiles,
    born: () => ledger.fileBorn(),
  });
  const space = new FreeSpaceWatch(disk, dir);
  const { minFreeBytes } = options;
  const room = new Room({
    ledger,
    catalog,
    files,
    disk,
    space,
    metrics,
    log,
    dir: segmentsDir,
    minFreeBytes,
  });
  const residency = new Residency(Math.min(maxBytes, options.residentBytes ?? defaultResidentBytes()));
  const reads = new Gate(tuning.readsAtOnce, tuning.readsAtOnce * 32);
  const verifier = new Verifier({
    catalog,
    disk,
    files,
    residency,
    metrics,
    gate: reads,
    settleMs: tuning.settleMs,
    verified: ({ segment, slot, bytes, wantedBytes, trusted }) => {
      const { digest, info } = segment.blob;
      // Small reads of a piece whose segment is being filled would each read and hash the whole of it.
      const forced = !trusted && wantedBytes < bytes.byteLength;
      return memory.admit(digest, info, segment.firstPiece + slot, bytes, { wantedBytes, forced });
    },
  });
  const quietMs = tuning.sealAfterMs;
  const sealer = new Sealer({ port, disk, files, verifier, residency, log, dir: segmentsDir, quietMs });
  const timeoutMs = tuning.readTimeoutMs;
  const source = new DiskSource(catalog, {
    disk,
    files,
    verifier,
    residency,
    health,
    gate: reads,
    timeoutMs,
    log,
    busy: () => {
      sealer.busy();
      care.readerServed();
    },
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
    written: (segment) => sealer.written(segment),
    metrics,
    log,
    gate: new Gate(tuning.writesAtOnce, tuning.queuedWrites),
    timeoutMs: tuning.writeTimeoutMs,
  });

  const care: StoreCare = storeCare({
    catalog,
    port,
    disk,
    files,
    verifier,
    room,
    ledger,
    metrics,
    dir: segmentsDir,
    now: tuning.now,
    flush: () => writer.flush(),
  });

  const inTime = async (work: Promise<unknown>, what: string, ms = FLUSH_TIMEOUT_MS): Promise<void> => {
    await within(work, ms).catch((error: unknown) => reportLate(log, what, error));
  };
  try {
    await mount.open(tuning.openTimeoutMs);
  } catch (error) {
    await inTime(port.close(), 'closing the index');
    throw error;
  }
  await inTime(room.settle(), 'making room at start', tuning.openTimeoutMs);
  const maintenance = new Maintenance({
    port,
    mount,
    room,
    ledger,
    metrics,
    log,
    rebuild: rebuildIndex,
    everyMs: tuning.maintainMs,
  });

  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    maintenance.stop();
    sealer.stop();
    await sink.stop();
    await inTime(writer.close(), 'committing the index');
    await inTime(Promise.all([room.quiet(), files.close()]), 'closing files');
    await inTime(port.close(), 'closing the index');
  };

  return {
    disk: source,
    memory,
    sink,
    catalog,
    facts,
    care,
    usage: () => ({
      allocatedBytes: ledger.allocatedBytes,
      maxBytes,
      blobs: catalog.blobCount,
      pieces: catalog.pieceCount,
      degraded: health.degraded,
    }),
    pin: (digest) => catalog.pin(digest),
    held: () => heldPieces(catalog),
    dropPiece: (digest, piece) => {
      memory.drop(digest);
      catalog.forgetPiece(digest, piece);
    },
    flush: () => inTime(writer.flush(), 'committing the index'),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

function reportLate(log: Logger, what: string, error: unknown): void {
  log.warn({ err: error }, `${what} did not end in time; the cache goes on without it`);
}
