/** At most `limit` jobs at once and `maxQueued` waiting: the bound of what a stopped disk can pile up. */
export class Gate {
  readonly #limit: number;
  readonly #maxQueued: number;
  readonly #queue: (() => void)[] = [];
  #running = 0;

  constructor(limit: number, maxQueued: number) {
    this.#limit = limit;
    this.#maxQueued = maxQueued;
  }

  get isFull(): boolean {
    return this.#running >= this.#limit && this.#queue.length >= this.#maxQueued;
  }

  /**
   * Runs `job` when a place is free. The place is taken until the job has really ended, whoever still waits for it.
   * A job whose turn comes too late is expected to look and return at once.
   */
  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#running += 1;
    try {
      return await job();
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
