import { lstat, opendir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SEGMENT_PIECES } from '../blob/piece.ts';
import { DamselflyError } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Catalog } from './catalog.ts';
import { errorCode } from './disk-layer.ts';
import { IndexError, type IndexPort } from './index-port.ts';
import type { Ledger } from './ledger.ts';
import type { Room } from './room.ts';
import type { Segment } from './segment.ts';

/** Files between two turns of the loop, and removals before their unlinks are waited for. */
const STEP_FILES = 256;

export interface GcOptions {
  /** Segments that were read longer ago than this go; undefined: none for their age. */
  readonly olderThanMs?: number | undefined;
  /** Segments go, the least recently read first, until no more than this is allocated. */
  readonly maxBytes?: number | undefined;
}

export interface GcReport {
  /** Allocated bytes of everything under `cache.dir`, before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Evicted for the quota, `cache.minFree`, their age, or `maxBytes`. */
  readonly evicted: { readonly segments: number; readonly bytes: number };
  /** Files that no entry of the index spoke of. */
  readonly unknownFiles: { readonly files: number; readonly bytes: number };
  /** Entries of the index whose files were gone. */
  readonly lostSegments: number;
}

export interface GcParts {
  readonly catalog: Catalog;
  readonly room: Room;
  readonly ledger: Ledger;
  readonly port: IndexPort;
  readonly metrics: Metrics;
  /** Directory of the segment files. */
  readonly dir: string;
  readonly now: () => number;
}

/**
 * Brings directory, index and quota together, now and not when it comes to it. What is being read or written stays; so
 * does everything outside of the segments' own directory.
 * @throws DamselflyError `store-unreadable`; the signal's reason.
 */
export async function collectGarbage(
  parts: GcParts,
  options: GcOptions,
  signal: AbortSignal,
): Promise<GcReport> {
  const { room, ledger, port, metrics, now } = parts;
  try {
    ledger.measured(await port.measure());
    const evictedBefore = await evictions(metrics);
    const bytesBefore = ledger.allocatedBytes;
    const { present, ...unknownFiles } = await removeUnknown(parts, signal);
    const lostSegments = await forgetLost(parts, present, signal);
    await room.maintain();
    const { olderThanMs, maxBytes } = options;
    if (olderThanMs !== undefined) {
      const before = now() - olderThanMs;
      await evictWhile(parts, signal, ({ usedAtMs }) => usedAtMs < before);
    }
    if (maxBytes !== undefined)
      await evictWhile(parts, signal, (_, leavingBytes) => ledger.allocatedBytes - leavingBytes > maxBytes);
    ledger.measured(await port.measure());
    metrics.diskUsage.set(ledger.allocatedBytes);
    const evicted = await evictions(metrics);
    return {
      bytesBefore: bytesBefore + unknownFiles.bytes,
      bytesAfter: ledger.allocatedBytes,
      evicted: {
        segments: evicted.segments - evictedBefore.segments,
        bytes: evicted.bytes - evictedBefore.bytes,
      },
      unknownFiles,
      lostSegments,
    };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const code = errorCode(error);
    if (code === '' && !(error instanceof IndexError)) throw error;
    throw new DamselflyError(
      'store-unreadable',
      `The cache directory cannot be looked through (${code || 'its index is not open'}): are it and its disk there, and may this user write to it?`,
      { cause: error },
    );
  }
}

/** @param isDue asked of the least recently read segment, with the bytes of those whose unlinks are under way. */
async function evictWhile(
  { catalog, room, metrics }: GcParts,
  signal: AbortSignal,
  isDue: (oldest: Segment, leavingBytes: number) => boolean,
): Promise<void> {
  for (let more = true; more; ) {
    let leavingBytes = 0;
    for (let count = 0; more && count < STEP_FILES; count += 1) {
      const oldest = catalog.oldestEvictable();
      more = oldest !== null && isDue(oldest, leavingBytes);
      if (oldest === null || !more) break;
      leavingBytes += oldest.chargedBytes;
      metrics.evictedSegments.inc();
      metrics.evictedBytes.inc(oldest.chargedBytes);
      catalog.removeSegment(oldest);
    }
    await room.quiet();
    signal.throwIfAborted();
  }
}

/** Names are never used twice, so one that no segment has now is nobody's, whatever happened since it was read. */
async function removeUnknown(
  { catalog, dir }: GcParts,
  signal: AbortSignal,
): Promise<{ present: Set<string>; files: number; bytes: number }> {
  const present = new Set<string>();
  for await (const entry of await opendir(dir, { bufferSize: STEP_FILES })) {
    signal.throwIfAborted();
    present.add(entry.name);
  }
  const unknown = new Set(present);
  let steps = 0;
  for (const blob of catalog.entries()) {
    for (const { fileName } of blob.segments.values()) unknown.delete(fileName);
    steps += 1;
    if (steps % STEP_FILES === 0) await nextTurn();
  }
  let files = 0;
  let bytes = 0;
  for (const name of unknown) {
    signal.throwIfAborted();
    const path = join(dir, name);
    const stat = await lstat(path).catch(() => null);
    if (stat === null) continue;
    // Recursive: something else may have been put in the place of a file.
    await rm(path, { recursive: true, force: true });
    files += 1;
    bytes += stat.blocks * 512;
  }
  return { present, files, bytes };
}

async function forgetLost(
  { catalog, dir, metrics }: GcParts,
  present: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<number> {
  const missing: Segment[] = [];
  let steps = 0;
  for (const blob of catalog.entries()) {
    for (const segment of blob.segments.values())
      if (segment.created && !present.has(segment.fileName)) missing.push(segment);
    steps += 1;
    if (steps % STEP_FILES === 0) await nextTurn();
  }
  let lost = 0;
  for (const segment of missing) {
    signal.throwIfAborted();
    if (segment.gone || (await exists(join(dir, segment.fileName)))) continue;
    for (let slot = 0; slot < SEGMENT_PIECES; slot += 1) if (segment.has(slot)) metrics.storeCorrupt.inc();
    catalog.removeSegment(segment);
    lost += 1;
  }
  return lost;
}

/** Born after the directory was read, or gone. */
async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** What the store has evicted since it was opened, by whoever's wish. */
async function evictions(metrics: Metrics): Promise<{ segments: number; bytes: number }> {
  const [segments, bytes] = await Promise.all([metrics.evictedSegments.get(), metrics.evictedBytes.get()]);
  return { segments: segments.values[0]?.value ?? 0, bytes: bytes.values[0]?.value ?? 0 };
}
