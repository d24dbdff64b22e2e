import type { Scope } from '../e2e/support/scope.ts';
import type { FlashCrowdOptions } from './flash-crowd/options.ts';
import type { Recorder } from './report.ts';

/** What a bench is given: where to put what it starts, when to give up, how much to do, and where figures go. */
export interface Stage {
  /** Everything started or made here is gone afterwards, also past the deadline. */
  readonly scope: Scope;
  /** Aborts at the bench's deadline or by a signal to the process. */
  readonly signal: AbortSignal;
  /** Interleaved repetitions; undefined: the bench's own number. */
  readonly rounds: number | undefined;
  /** Small sizes and few rounds: shows that the bench works, its figures mean little. */
  readonly quick: boolean;
  /** Size of the cache that `restart` fills; undefined: its own. */
  readonly cacheGiB: number | undefined;
  /** What `flash-crowd` is told. */
  readonly crowd: FlashCrowdOptions;
  readonly record: Recorder;
}

export interface Bench {
  readonly what: string;
  readonly deadlineMs: number;
  run(stage: Stage): Promise<void>;
}

export const MIB = 1 << 20;
export const GIB = 1 << 30;
export const MINUTE_MS = 60_000;

export const OURS = 'Damselfly';

/** The rivals in another order each round, so that none always runs after the same one. */
export function inTurn<T>(all: readonly T[], round: number): T[] {
  return all.map((_, i) => all[(i + round) % all.length] as T);
}
