import type { Digest } from '../../src/blob/digest.ts';

/** Questions for pieces on their way that are kept at once; further ones are told that the piece is not here. */
const MAX_WAITERS = 4_096;

/** Pieces that this node is receiving, and who waits for them to be here. */
export class Arrivals {
  readonly #expected = new Map<string, number>();
  readonly #waiters = new Map<string, Set<(isHere: boolean) => void>>();
  readonly #maxWaiters: number;
  #waiting = 0;

  constructor(maxWaiters: number = MAX_WAITERS) {
    this.#maxWaiters = maxWaiters;
  }

  /** Questions that wait for a piece to arrive. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The piece is on its way. @returns call it once when it is not any more, having arrived or not. */
  expect(digest: Digest, piece: number): () => void {
    const key = keyOf(digest, piece);
    this.#expected.set(key, (this.#expected.get(key) ?? 0) + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const left = (this.#expected.get(key) ?? 1) - 1;
      if (left > 0) {
        this.#expected.set(key, left);
        return;
      }
      this.#expected.delete(key);
      this.#settle(key, false);
    };
  }

  isExpected(digest: Digest, piece: number): boolean {
    return this.#expected.has(keyOf(digest, piece));
  }

  /** It can be lent from now on. */
  arrived(digest: Digest, piece: number): void {
    this.#settle(keyOf(digest, piece), true);
  }

  /** @returns whether it has come within `waitMs`; false at once when it is not expected. */
  wait(digest: Digest, piece: number, waitMs: number, signal: AbortSignal): Promise<boolean> {
    const key = keyOf(digest, piece);
    if (!this.#expected.has(key) || this.#waiting >= this.#maxWaiters || signal.aborted)
      return Promise.resolve(false);
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(key) ?? new Set();
      this.#waiters.set(key, waiters);
      this.#waiting += 1;
      const finish = (isHere: boolean): void => {
        if (!waiters.delete(finish)) return;
        if (waiters.size === 0 && this.#waiters.get(key) === waiters) this.#waiters.delete(key);
        this.#waiting -= 1;
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
        resolve(isHere);
      };
      const leave = (): void => finish(false);
      const timer = setTimeout(leave, waitMs);
      signal.addEventListener('abort', leave);
      waiters.add(finish);
    });
  }

  #settle(key: string, isHere: boolean): void {
    for (const finish of [...(this.#waiters.get(key) ?? [])]) finish(isHere);
  }
}

function keyOf(digest: Digest, piece: number): string {
  return `${digest}/${piece}`;
}
