import type { WantedPiece } from './wanted-piece.ts';

/** Second fetches that are allowed before their share of the first ones is. */
const FEW_SECONDS = 2;
/** As many may be ended since they are slow. */
const FEW_FORSAKEN = 2;

/** Fetches that run at once, and pieces that wait for their turn: on-demand ones first, each in order of arrival. */
export class FetchSlots {
  readonly #limit: number;
  readonly #secondShare: number;
  readonly #demand = new Map<WantedPiece, () => void>();
  readonly #prefetch = new Map<WantedPiece, () => void>();
  #running = 0;
  #started = 0;
  #seconds = 0;
  #forsaken = 0;

  /** @param secondShare part of all fetches that may run beside another of the same piece. */
  constructor(limit: number, secondShare: number) {
    this.#limit = limit;
    this.#secondShare = secondShare;
  }

  get running(): number {
    return this.#running;
  }

  get maySecond(): boolean {
    return this.#seconds < FEW_SECONDS + this.#secondShare * this.#started;
  }

  seconded(): void {
    this.#seconds += 1;
  }

  /** Whether one more fetch may be ended on the suspicion alone that its piece would come sooner from elsewhere. */
  get mayForsake(): boolean {
    return this.#forsaken < FEW_FORSAKEN + this.#secondShare * this.#started;
  }

  /** @param count -1: it was right to. */
  forsook(count: 1 | -1): void {
    this.#forsaken = Math.max(0, this.#forsaken + count);
  }

  /** Calls `start` now or when a slot is free; each start is to be followed by one `free`. */
  enter(piece: WantedPiece, start: () => void): void {
    if (this.#running < this.#limit) this.#start(start);
    else (piece.urgency === 'demand' ? this.#demand : this.#prefetch).set(piece, start);
  }

  /** It waits no longer. */
  leave(piece: WantedPiece): void {
    this.#demand.delete(piece);
    this.#prefetch.delete(piece);
  }

  /** It is more urgent now. */
  raise(piece: WantedPiece): void {
    const start = this.#prefetch.get(piece);
    if (start === undefined) return;
    this.#prefetch.delete(piece);
    this.#demand.set(piece, start);
  }

  free(): void {
    this.#running -= 1;
    for (const queue of [this.#demand, this.#prefetch]) {
      for (const [piece, start] of queue) {
        queue.delete(piece);
        this.#start(start);
        return;
      }
    }
  }

  #start(start: () => void): void {
    this.#running += 1;
    this.#started += 1;
    start();
  }
}
