/** On-demand reads go before prefetch wherever something is queued. */
export type UrgencyLevel = 'demand' | 'prefetch';

/**
 * How urgent a read is, shared by everyone who waits for it: when an on-demand reader joins a prefetch, the
 * prefetch is raised and whoever has it queued is told.
 */
export class Urgency {
  #level: UrgencyLevel;
  readonly #listeners = new Set<() => void>();

  constructor(level: UrgencyLevel) {
    this.#level = level;
  }

  get level(): UrgencyLevel {
    return this.#level;
  }

  /** Prefetch becomes demand; never the other way round. */
  raise(): void {
    if (this.#level === 'demand') return;
    this.#level = 'demand';
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** @returns a function that takes the listener back. */
  onRaise(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
