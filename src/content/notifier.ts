import { withSignal } from './abort.ts';

/** Lets any number of waiters sleep until something changed. Nothing is allocated while nobody waits. */
export class Notifier {
  #pending: PromiseWithResolvers<void> | null = null;

  notify(): void {
    const pending = this.#pending;
    this.#pending = null;
    pending?.resolve();
  }

  /** Resolves at the next {@link notify}; rejects with the signal's reason when that comes first. */
  async wait(signal: AbortSignal): Promise<void> {
    this.#pending ??= Promise.withResolvers<void>();
    await withSignal(this.#pending.promise, signal);
  }
}
