import type { Logger } from './log.ts';
import type { Metrics } from './metrics.ts';

/**
 * What can make a node unable to serve. A failing origin or disk is none of these: requests then fail, or pass
 * through, one by one, while one bad ping diverts a whole nydusd from its cache.
 */
export type HealthConcern = 'event-loop' | 'open-files';

const REASONS: Readonly<Record<HealthConcern, string>> = {
  'event-loop': 'the event loop is stuck: timers fire more than a second late',
  'open-files': 'nearly all file descriptors are in use: raise the limit of open files',
};

/** Probes in a row that turn a concern bad, and good again. */
const BAD_AFTER = 3;
const GOOD_AFTER = 3;

export interface HealthSnapshot {
  readonly healthy: boolean;
  readonly since: string;
  readonly reasons: readonly string[];
}

interface Standing {
  bad: boolean;
  /** Probes in a row that say the opposite of `bad`. */
  contrary: number;
}

/**
 * The answer of `/healthy`, kept ready so that a ping costs one property read. Fed by {@link watchHealth}; it has no
 * timer of its own.
 */
export class Health {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #badAfter: number;
  readonly #goodAfter: number;
  readonly #standings: Record<HealthConcern, Standing> = {
    'event-loop': { bad: false, contrary: 0 },
    'open-files': { bad: false, contrary: 0 },
  };
  #stopping = false;
  #healthy = true;
  #sinceMs: number;

  constructor(options: {
    log: Logger;
    metrics: Metrics;
    /** Milliseconds since the epoch. */
    now?: () => number;
    badAfter?: number;
    goodAfter?: number;
  }) {
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#now = options.now ?? Date.now;
    this.#badAfter = options.badAfter ?? BAD_AFTER;
    this.#goodAfter = options.goodAfter ?? GOOD_AFTER;
    this.#sinceMs = this.#now();
    this.#metrics.healthy.set(1);
  }

  get healthy(): boolean {
    return this.#healthy;
  }

  /** One probe's word. A concern changes only after several probes in a row say so. */
  report(concern: HealthConcern, good: boolean): void {
    const standing = this.#standings[concern];
    if (good !== standing.bad) {
      standing.contrary = 0;
      return;
    }
    standing.contrary++;
    if (standing.contrary < (standing.bad ? this.#goodAfter : this.#badAfter)) return;
    standing.bad = !standing.bad;
    standing.contrary = 0;
    this.#settle();
  }

  /** From here on for good: clients shall go elsewhere while the node ends its streams. */
  stopping(): void {
    this.#stopping = true;
    this.#settle();
  }

  snapshot(): HealthSnapshot {
    return {
      healthy: this.#healthy,
      since: new Date(this.#sinceMs).toISOString(),
      reasons: this.#reasons(),
    };
  }

  #reasons(): string[] {
    const reasons = this.#stopping ? ['the node is stopping'] : [];
    for (const [concern, { bad }] of Object.entries(this.#standings)) {
      if (bad) reasons.push(REASONS[concern as HealthConcern]);
    }
    return reasons;
  }

  #settle(): void {
    const reasons = this.#reasons();
    const healthy = reasons.length === 0;
    if (healthy === this.#healthy) return;
    this.#healthy = healthy;
    this.#sinceMs = this.#now();
    this.#metrics.healthy.set(healthy ? 1 : 0);
    if (healthy) this.#log.info('healthy again');
    else if (this.#stopping) this.#log.info('not healthy any more: the node is stopping');
    else this.#log.warn({ reasons }, 'not healthy any more');
  }
}
