import type { Logger } from '../../src/observe/log.ts';
import type { PieceBufferPool } from '../exchange.ts';
import type { PeerId } from '../member.ts';
import type { ExchangeCounters } from './counters.ts';
import type { ExchangeLimits } from './limits.ts';
import type { Throttles } from './throttles.ts';

/** What every kind of exchange is made of. */
export interface ExchangeParts {
  readonly pool: PieceBufferPool;
  readonly log: Logger;
  /** Nothing is counted without it. */
  readonly counters?: ExchangeCounters;
  /** What is not named is as in `DEFAULT_LIMITS`. */
  readonly limits?: Partial<ExchangeLimits>;
  /** Shared by all transports of a node; its own without it. */
  readonly throttles?: Throttles;
  /** Members that are cut off: neither dialled nor let in. */
  readonly isCutOff?: (peer: PeerId) => boolean;
}

/** What the node is doing for others, for gauges. */
export interface ExchangeLoad {
  readonly connections: number;
  /** Pieces being sent, and asked for and waiting for a slot. */
  readonly uploads: { readonly active: number; readonly queued: number };
}
