import type { Digest } from '../blob/digest.ts';
import type { Flight } from './flight.ts';

/** Which flight delivers which piece: the single flight of the node. A piece has at most one flight at a time. */
export class FlightTable {
  readonly #flights = new Map<Digest, Map<number, Flight>>();

  get(digest: Digest, piece: number): Flight | undefined {
    return this.#flights.get(digest)?.get(piece);
  }

  /** Any flight of the blob: good for learning its size. */
  any(digest: Digest): Flight | undefined {
    return this.#flights.get(digest)?.values().next().value;
  }

  /** All flights of the blob. */
  of(digest: Digest): Set<Flight> {
    return new Set(this.#flights.get(digest)?.values());
  }

  /** False when somebody else's flight has it. */
  claim(digest: Digest, piece: number, flight: Flight): boolean {
    let pieces = this.#flights.get(digest);
    if (pieces === undefined) {
      pieces = new Map();
      this.#flights.set(digest, pieces);
    }
    const holder = pieces.get(piece);
    if (holder !== undefined) return holder === flight;
    pieces.set(piece, flight);
    return true;
  }

  release(digest: Digest, piece: number, flight: Flight): void {
    const pieces = this.#flights.get(digest);
    if (pieces?.get(piece) !== flight) return;
    pieces.delete(piece);
    if (pieces.size === 0) this.#flights.delete(digest);
  }

  /** Nobody's flight delivers anything of this blob any more. */
  forget(digest: Digest): void {
    this.#flights.delete(digest);
  }
}
