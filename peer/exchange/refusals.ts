import { LRUCache } from 'lru-cache';
import type { Logger } from '../../src/observe/log.ts';
import type { ExchangeCounters, TransportName } from './counters.ts';
import type { RefusalReason } from './hello.ts';

const LOG_EVERY_MS = 60_000;
const MAX_REMEMBERED = 1024;

/** Counts everybody who is refused, and names each once a minute: a flood of strangers is no flood of log lines. */
export class Refusals {
  readonly #transport: TransportName;
  readonly #log: Logger;
  readonly #counters: ExchangeCounters;
  readonly #now: () => number;
  readonly #logged = new LRUCache<string, number>({ max: MAX_REMEMBERED });

  constructor(options: {
    transport: TransportName;
    log: Logger;
    counters: ExchangeCounters;
    /** Milliseconds that never go back. */
    now?: () => number;
  }) {
    this.#transport = options.transport;
    this.#log = options.log;
    this.#counters = options.counters;
    this.#now = options.now ?? (() => performance.now());
  }

  /** @param who peer id, or the address when nobody has been proven. */
  note(side: 'in' | 'out', reason: RefusalReason, who: string, detail?: string): void {
    this.#counters.refused(this.#transport, side, reason);
    const key = `${side} ${who} ${reason}`;
    const nowMs = this.#now();
    const lastMs = this.#logged.get(key);
    if (lastMs !== undefined && nowMs - lastMs < LOG_EVERY_MS) return;
    this.#logged.set(key, nowMs);
    this.#log.warn(
      { transport: this.#transport, who, reason, detail },
      side === 'in' ? 'a peer was refused' : 'a peer that was dialled was refused, or refused us',
    );
  }
}
