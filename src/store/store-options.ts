import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { CatalogEvents } from './catalog.ts';
import type { DiskLayer } from './disk-layer.ts';
import type { IndexPort } from './index-port.ts';
import { PAGE_BYTES, PAGES_PER_ROW } from './index-protocol.ts';
import { SETTLE_MS } from './verifier.ts';

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
  readonly events?: Partial<CatalogEvents> | undefined;
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
  readonly sealAfterMs: number;
  readonly maintainMs: number;
  readonly maxOpenFiles: number;
  readonly writesAtOnce: number;
  readonly queuedWrites: number;
  readonly readsAtOnce: number;
  /** Milliseconds since the epoch: the clock of the LRU order. */
  readonly now: () => number;
}

export const DEFAULT_TUNING: Omit<StoreTuning, 'index'> = {
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
  sealAfterMs: 1_000,
  maintainMs: 15_000,
  maxOpenFiles: 512,
  writesAtOnce: 4,
  queuedWrites: 64,
  readsAtOnce: 8,
  now: Date.now,
};

/** Room for facts and for sizes of absent blobs: a 64th of the quota, and no more rows than that. */
const SMALL_ROW_BYTES = 512;
const MAX_SMALL_ROWS = 100_000;

/** How many facts of a kind, and sizes of blobs of which nothing is here, are kept. */
export function smallRows(maxBytes: number): number {
  return Math.max(64, Math.min(MAX_SMALL_ROWS, Math.floor(maxBytes / 64 / SMALL_ROW_BYTES)));
}

/** What the index may grow by with one batch: the pages in its log, and the same pages when they are folded in. */
export function batchGrowthBytes(rows: number): number {
  return rows * PAGES_PER_ROW * PAGE_BYTES * 2;
}

/** So few rows that the index's growth by one batch stays a small part of the quota. */
export function batchRows(maxBytes: number): number {
  return Math.max(4, Math.min(256, Math.floor(maxBytes / 32 / batchGrowthBytes(1))));
}

export function defaultResidentBytes(): number {
  const limit = constrainedMemory();
  return Math.floor(Math.min(limit > 0 ? limit : Number.POSITIVE_INFINITY, totalmem()) / 2);
}
