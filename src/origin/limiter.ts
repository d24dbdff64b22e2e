import type { Urgency } from '../blob/urgency.ts';
import { DamselflyError } from '../errors.ts';

export interface LimiterOptions {
  /** Requests at once. */
  readonly slots: number;
  /** Requests that may wait for a slot. */
  readonly maxQueued: number;
}

/** Gives a slot back; calling it again does nothing. */
export type Release = () => void;

interface Waiter {
  readonly urgency: Urgency;
  /** Takes the slot and its accounts in the same turn, so that a raise in between is not missed. */
  readonly grant: () => void;
  readonly refuse: (error: Error) => void;
}

/**
 * Slots of one origin. On-demand reads go before prefetch, and prefetch takes at most half of the slots, so that an
 * on-demand read never waits behind a prefetched blob. The queue is bounded: a full one drops its youngest prefetch for
 * an on-demand read, and refuses everybody else.
 */
export class Limiter {
  readonly #options: LimiterOptions;
  readonly #queue = { demand: new Set<Waiter>(), prefetch: new Set<Waiter>() };
  #running = 0;
  #prefetching = 0;

  constructor(options: LimiterOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#queue.demand.size + this.#queue.prefetch.size;
  }

  get isIdle(): boolean {
    return this.#running === 0 && this.queued === 0;
  }

  /** @throws DamselflyError `origin-busy` when the queue is full; the signal's reason. */
  async acquire(urgency: Urgency, signal: AbortSignal): Promise<Release> {
    signal.throwIfAborted();
    return this.#fits(urgency) ? this.#take(urgency) : this.#wait(urgency, signal);
  }

  #fits(urgency: Urgency): boolean {
    if (this.#running >= this.#options.slots) return false;
    if (urgency.level === 'demand') return true;
    return this.#prefetching < Math.max(1, Math.floor(this.#options.slots / 2));
  }

  /** Takes a slot; it leaves the prefetch share when its read becomes an on-demand one. */
  #take(urgency: Urgency): Release {
    let prefetching = urgency.level === 'prefetch';
    this.#running++;
    if (prefetching) this.#prefetching++;
    let released = false;
    const leaveShare = (): void => {
      if (!prefetching) return;
      prefetching = false;
      this.#prefetching--;
    };
    const forget = urgency.onRaise(() => {
      leaveShare();
      this.#serve();
    });
    return () => {
      if (released) return;
      released = true;
      forget();
      leaveShare();
      this.#running--;
      this.#serve();
    };
  }

  #wait(urgency: Urgency, signal: AbortSignal): Promise<Release> {
    if (this.queued >= this.#options.maxQueued) this.#makeRoom(urgency);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#queue.demand.delete(waiter);
        this.#queue.prefetch.delete(waiter);
        forget();
        signal.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        urgency,
        grant: () => {
          leave();
          resolve(this.#take(urgency));
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      const forget = urgency.onRaise(() => {
        this.#queue.prefetch.delete(waiter);
        this.#queue.demand.add(waiter);
        this.#serve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
      this.#queue[urgency.level].add(waiter);
    });
  }

  #makeRoom(urgency: Urgency): void {
    const youngest = urgency.level === 'demand' ? [...this.#queue.prefetch].at(-1) : undefined;
    if (youngest === undefined) throw busy();
    youngest.refuse(busy());
  }

  #serve(): void {
    for (const waiters of [this.#queue.demand, this.#queue.prefetch]) {
      for (const waiter of waiters) {
        if (!this.#fits(waiter.urgency)) break;
        waiter.grant();
      }
    }
  }
}

function busy(): DamselflyError {
  return new DamselflyError('origin-busy', 'Too many requests wait for this origin');
}
