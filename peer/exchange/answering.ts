import type { PeerId } from '../member.ts';
import type { Answerer } from './answerer.ts';
import type { ExchangeLimits } from './limits.ts';

/** The connections that others have made to us. */
export class Answering {
  readonly #limits: ExchangeLimits;
  readonly #answerers = new Set<Answerer>();

  constructor(limits: ExchangeLimits) {
    this.#limits = limits;
  }

  connected(): PeerId[] {
    return [...new Set([...this.#answerers].map(({ peer }) => peer))];
  }

  /** @returns false when there are too many, and none is idle that could go. */
  makeRoom(): boolean {
    if (this.#answerers.size < this.#limits.maxInbound) return true;
    const [oldest] = [...this.#answerers]
      .filter((one) => one.isIdle)
      .sort((a, b) => a.lastUsedAtMs - b.lastUsedAtMs);
    if (oldest === undefined) return false;
    this.#answerers.delete(oldest);
    oldest.destroy();
    return true;
  }

  add(answerer: Answerer): void {
    this.#answerers.add(answerer);
  }

  remove(answerer: Answerer): void {
    this.#answerers.delete(answerer);
  }

  retire(isDue: (answerer: Answerer) => boolean): void {
    for (const answerer of [...this.#answerers]) if (isDue(answerer)) answerer.retire(this.#limits.retireMs);
  }

  close(): void {
    for (const answerer of [...this.#answerers]) answerer.destroy();
  }
}
