/**
 * Work that nobody waits for: read-ahead, prefetch, proofs. Bounded; one at a time per key; ended by `close`.
 */
export class Background {
  readonly #max: number;
  readonly #abort = new AbortController();
  readonly #running = new Map<string, Promise<void>>();

  constructor(max: number) {
    this.#max = max;
  }

  /** @returns false when it was not begun: the same is under way, too much is, or the node is stopping. */
  run(key: string, work: (signal: AbortSignal) => Promise<void>): boolean {
    if (this.#abort.signal.aborted || this.#running.has(key) || this.#running.size >= this.#max) return false;
    const done = work(this.#abort.signal).finally(() => this.#running.delete(key));
    this.#running.set(key, done);
    return true;
  }

  async close(reason: unknown): Promise<void> {
    this.#abort.abort(reason);
    await Promise.allSettled(this.#running.values());
  }
}
