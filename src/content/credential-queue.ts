import type { Upstream } from '../blob/upstream.ts';

/**
 * With whose credentials one flight asks the origin: its opener's, then those of the passengers whose rights were
 * checked on their own, in the order in which they joined. A refused one is never tried again.
 */
export class CredentialQueue {
  readonly #waiting: Upstream[];
  readonly #refused: Upstream[] = [];
  readonly #opener: Upstream;

  constructor(opener: Upstream) {
    this.#opener = opener;
    this.#waiting = [opener];
  }

  get current(): Upstream {
    return this.#waiting[0] ?? this.#opener;
  }

  add(upstream: Upstream): void {
    this.#waiting.push(upstream);
  }

  /**
   * The current one was refused.
   * @param others whose credentials may be lent when the queue is empty: readers of the same blob, rights checked.
   * @returns whether there is another to try.
   */
  refuse(others: () => Iterable<Upstream>): boolean {
    const refused = this.#waiting.shift();
    if (refused === undefined) return false;
    this.#refused.push(refused);
    while (this.#waiting[0] !== undefined && this.#isRefused(this.#waiting[0])) this.#waiting.shift();
    if (this.#waiting.length === 0) {
      for (const other of others()) if (!this.#isRefused(other)) this.#waiting.push(other);
    }
    return this.#waiting.length > 0;
  }

  #isRefused(upstream: Upstream): boolean {
    return this.#refused.some((refused) => isSame(refused, upstream));
  }
}

function isSame(a: Upstream, b: Upstream): boolean {
  return (
    a.origin === b.origin && a.repository === b.repository && a.credential.secret() === b.credential.secret()
  );
}
