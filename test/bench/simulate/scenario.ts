import type { HuntParameters } from '../../../peer/hunt/parameters.ts';
import type { PlannerParameters } from '../../../peer/planner/parameters.ts';

/** One simulated flash crowd. */
export interface Scenario {
  readonly name: string;
  readonly nodes: number;
  /** Of the one blob, in pieces of 1 MiB. */
  readonly pieces: number;
  /** Bytes per second. */
  readonly upRate: number;
  readonly downRate: number;
  readonly originRate: number;
  /** To the origin's first byte, in ms. */
  readonly originDelayMs: number;
  /** From one node to another, one way. */
  readonly latencyMs: number;
  /** Part of the messages that vanish: more than any real network loses, for tests. */
  readonly loss: number;
  readonly zones: number;
  /** Readers start within this time. */
  readonly startMs: number;
  /** whole: all pieces in order. lazy: `lazyReads` pieces here and there, the same set on every node in another order. */
  readonly reads: 'whole' | 'lazy';
  readonly lazyReads: number;
  /** Pieces past its position that a whole-blob reader wants: at first, and at most; two more for each that it has read. */
  readonly firstWindow: number;
  readonly window: number;
  /** How long a reader waits for a piece that it has come to until it reads the origin, in ms; and for those ahead. */
  readonly patienceMs: number;
  readonly aheadPatienceMs: number;
  /** Uploads at once per node; the rest waits in order. */
  readonly slots: number;
  /** Uploads that may wait; beyond, the answer is busy. */
  readonly queue: number;
  /** Part of the nodes that die, when, and whether their connections are reset (kill -9) or just stop (a host lost). */
  readonly deaths: number;
  readonly deathAtMs: number;
  readonly deathKind: 'reset' | 'silent';
  /** How long the others take to notice a death. */
  readonly noticeMs: number;
  readonly maxConnections: number;
  readonly seed: number;
  /** Give up after so much simulated time. */
  readonly limitMs: number;
  readonly planner: Partial<PlannerParameters>;
  readonly hunt: Partial<HuntParameters>;
}

const MB = 1_000_000;

export const FLASH_CROWD: Scenario = {
  name: '8 nodes, 256 MiB',
  nodes: 8,
  pieces: 256,
  upRate: 20 * MB,
  downRate: 20 * MB,
  originRate: 20 * MB,
  originDelayMs: 10,
  latencyMs: 0.3,
  loss: 0,
  zones: 1,
  startMs: 100,
  reads: 'whole',
  lazyReads: 0,
  firstWindow: 16,
  window: 48,
  // As the product has it.
  patienceMs: 4_000,
  aheadPatienceMs: 300_000,
  slots: 8,
  queue: 64,
  deaths: 0,
  deathAtMs: 0,
  deathKind: 'reset',
  noticeMs: 2_000,
  maxConnections: 64,
  seed: 1,
  limitMs: 600_000,
  planner: {},
  // As the product has it: whoever waits for a piece reads it by a request of its own.
  hunt: { leaseRun: 1 },
};
