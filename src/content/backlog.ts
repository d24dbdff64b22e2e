import { withSignal } from './abort.ts';

/**
 * Completed pieces of the whole node on their way to the disk, past which what nobody waits for is not taken in: twice
 * what the store writes at once, so that the disk has always work.
 */
const MAX_AHEAD = 8;
/**
 * The same for pieces that a reader stands at: it is served from memory, and held up only when the disk is far behind.
 * The store gives a piece 2 s in its queue; with more there, a disk of 10 MB/s would be taken for a failing one.
 */
const MAX_AWAITED = 16;

interface Waiter {
  readonly isAwaited: () => boolean;
  readonly admit: () => void;
}

/**
 * Bounds what waits for the disk over all flights. Pieces of a swarm arrive whole and many at once, faster than a
 * disk writes: beyond its queue the store declines them, and then they are lost to the cache and to the peers.
 */
export class Backlog {
  readonly #waiting = new Set<Waiter>();
  #unsettled = 0;

  get unsettled(): number {
    return this.#unsettled;
  }

  /** A piece that arrived as a stream is complete: its flight waits before it takes the next one. */
  add(): void {
    this.#unsettled += 1;
  }

  /** One is settled, or was not taken after all. Once for each `add` and each `enter`. */
  settled(): void {
    this.#unsettled -= 1;
    this.stir();
  }

  /**
   * Waits until one more piece may be taken in, and counts it.
   * @param isAwaited whether a reader stands at it; call `stir` when that has become true.
   */
  async enter(isAwaited: () => boolean, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const gate = Promise.withResolvers<void>();
    const waiter: Waiter = { isAwaited, admit: gate.resolve };
    this.#waiting.add(waiter);
    this.stir();
    if (!this.#waiting.has(waiter)) return;
    try {
      await withSignal(gate.promise, signal);
    } catch (error) {
      if (!this.#waiting.delete(waiter)) this.settled();
      throw error;
    }
  }

  /** Lets in whom there is room for: awaited ones first, each in order of arrival. */
  stir(): void {
    if (this.#waiting.size === 0 || this.#unsettled >= MAX_AWAITED) return;
    for (const waiter of this.#waiting) if (waiter.isAwaited()) this.#admit(waiter, MAX_AWAITED);
    for (const waiter of this.#waiting) this.#admit(waiter, MAX_AHEAD);
  }

  #admit(waiter: Waiter, limit: number): void {
    if (this.#unsettled >= limit) return;
    this.#waiting.delete(waiter);
    this.#unsettled += 1;
    waiter.admit();
  }
}
