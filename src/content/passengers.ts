import type { Span } from '../blob/span.ts';
import type { Upstream } from '../blob/upstream.ts';

/** One who waits for pieces of a flight. */
export interface Passenger {
  /** Asked as, when the flight's own credential is refused; its rights are checked already. Null: not yet. */
  readonly upstream: Upstream | null;
  /** The blob offset that it reads at; Infinity for one that reads nothing, and only wants the pieces kept. */
  position: number;
}

/** Who is on board of one flight. */
export class Passengers {
  readonly #all = new Set<Passenger>();

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  add(passenger: Passenger): void {
    this.#all.add(passenger);
  }

  /** @returns whether it was the last. */
  remove(passenger: Passenger): boolean {
    return this.#all.delete(passenger) && this.#all.size === 0;
  }

  /** The most advanced position; 0 when nobody is on board. */
  get fastest(): number {
    let fastest = 0;
    for (const { position } of this.#all) fastest = Math.max(fastest, position);
    return fastest;
  }

  /** Whether somebody reads in the span now. */
  isAnyIn({ start, end }: Span): boolean {
    for (const { position } of this.#all) if (position >= start && position < end) return true;
    return false;
  }

  isAnyBefore(offset: number): boolean {
    for (const { position } of this.#all) if (position < offset) return true;
    return false;
  }

  /** Whether somebody on board has a right that was checked: an opening that is still the check itself has none. */
  get isAnyChecked(): boolean {
    for (const { upstream } of this.#all) if (upstream !== null) return true;
    return false;
  }
}
