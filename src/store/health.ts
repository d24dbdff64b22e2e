import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';

/** Why a piece is not kept. The words of the metric `damselfly_store_declined_total`. */
export type DeclineReason =
  | 'no-room'
  | 'disk-full'
  | 'disk-error'
  | 'disk-slow'
  | 'read-only'
  | 'busy'
  | 'stopped';

/** A lasting state of the disk, as against a moment's refusal. */
export type DiskFault = Extract<DeclineReason, 'disk-full' | 'disk-error' | 'disk-slow' | 'read-only'>;

/** The duties of the disk that fail, and come back, by themselves. */
export type DiskDuty = 'write' | 'read' | 'index';

const FIRST_PROBE_MS = 2_000;
const LAST_PROBE_MS = 60_000;

const WARNINGS: Readonly<Record<DiskDuty, string>> = {
  write: 'the cache disk does not take pieces; they pass through unkept until it does',
  read: 'the cache disk does not give pieces; they are read from elsewhere until it does',
  index: 'the cache index cannot be written; pieces pass through unkept until it can',
};

/** What each fault means to whoever runs the node. */
export const FAULT_ADVICE: Readonly<Record<DiskFault, string>> = {
  'disk-full':
    'its file system is full, or has less left than cache.minFree: free some, or lower cache.minFree',
  'read-only': 'this user may not write to cache.dir, or its file system is read-only',
  'disk-error': 'cache.dir is no folder, or its disk fails',
  'disk-slow': 'the disk of cache.dir does not answer in time',
};

interface DutyState {
  fault: DiskFault | null;
  /** Somebody was given leave to try, and has not failed yet. */
  isProbed: boolean;
  probeAtMs: number;
  backoffMs: number;
}

/** The fault that an errno tells of; null for an errno that says nothing lasting of the disk. */
export function faultOf(code: string): DiskFault {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'disk-full';
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return 'read-only';
    default:
      return 'disk-error';
  }
}

/**
 * Remembers that the disk fails, so that a full or stopped one costs nothing: while a duty is at fault only one attempt
 * every few seconds is let through, ever more seldom up to a minute. Whatever else was under way when the trouble began
 * and fails after the first tells nothing new, and puts nothing off. Each change is logged once.
 */
export class DiskHealth {
  readonly #duties: Record<DiskDuty, DutyState> = { write: sound(), read: sound(), index: sound() };
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #firstProbeMs: number;

  constructor(options: { log: Logger; metrics: Metrics; now?: () => number; firstProbeMs?: number }) {
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#now = options.now ?? performance.now.bind(performance);
    this.#firstProbeMs = options.firstProbeMs ?? FIRST_PROBE_MS;
    this.#metrics.storeDegraded.set(0);
  }

  /** Why pieces are not kept at present, or null. */
  get degraded(): DiskFault | null {
    return this.#duties.write.fault ?? this.#duties.index.fault;
  }

  faultIn(duty: DiskDuty): DiskFault | null {
    return this.#duties[duty].fault;
  }

  /**
   * Asks for leave to use the disk.
   * @returns the fault that forbids it, or null. At a fault, one caller gets leave when a probe is due.
   */
  refuses(duty: DiskDuty): DiskFault | null {
    const state = this.#duties[duty];
    if (state.fault === null) return null;
    const now = this.#now();
    if (now < state.probeAtMs) return state.fault;
    state.probeAtMs = now + state.backoffMs;
    state.isProbed = true;
    return null;
  }

  failed(duty: DiskDuty, fault: DiskFault, facts: { code?: string; message?: string } = {}): void {
    const state = this.#duties[duty];
    const before = state.fault;
    if (before === null || state.isProbed) {
      state.backoffMs =
        before === null ? this.#firstProbeMs : Math.min(LAST_PROBE_MS, Math.max(1, state.backoffMs) * 2);
      state.probeAtMs = this.#now() + state.backoffMs;
    }
    state.isProbed = false;
    state.fault = fault;
    if (before === fault) return;
    this.#log.warn({ duty, fault, ...facts }, `${WARNINGS[duty]}; ${FAULT_ADVICE[fault]}`);
    this.#metrics.storeDegraded.set(1);
  }

  succeeded(duty: DiskDuty): void {
    const state = this.#duties[duty];
    if (state.fault === null) return;
    this.#log.info({ duty, fault: state.fault }, 'the cache disk works again');
    this.#duties[duty] = sound();
    const { write, read, index } = this.#duties;
    if (write.fault === null && read.fault === null && index.fault === null)
      this.#metrics.storeDegraded.set(0);
  }
}

function sound(): DutyState {
  return { fault: null, isProbed: false, probeAtMs: 0, backoffMs: 0 };
}
