import type { ArrivingPiece } from './arriving-piece.ts';

/**
 * Settled pieces kept for passengers who are not there yet: taken from memory they cost no read from disk and no second
 * hash. Beyond it the oldest goes, and whoever is that far behind reads from the store.
 */
export const MAX_KEPT_PIECES = 8;

/** The pieces that one flight holds: those that arrive or are on their way to the disk, and a few that have landed. */
export class FlightPieces {
  readonly #pieces = new Map<number, ArrivingPiece>();
  /** Settled, oldest first, and still in `#pieces`. */
  readonly #landed: number[] = [];

  get(index: number): ArrivingPiece | undefined {
    return this.#pieces.get(index);
  }

  add(piece: ArrivingPiece): void {
    this.#pieces.set(piece.index, piece);
  }

  /** @param isWanted somebody on board has still to read it. */
  landed(index: number, isWanted: boolean): void {
    this.#landed.push(index);
    while (this.#landed.length > (isWanted ? MAX_KEPT_PIECES : 0)) this.#drop(this.#landed.shift());
  }

  /** Nobody is on board any more. */
  dropAll(): void {
    for (const index of [...this.#pieces.keys()]) this.#drop(index);
  }

  #drop(index: number | undefined): void {
    const piece = index === undefined ? undefined : this.#pieces.get(index);
    if (piece === undefined) return;
    this.#pieces.delete(piece.index);
    piece.letGo();
  }
}
