import type { Digest } from '../blob/digest.ts';

/**
 * Takes blobs off the node on somebody's wish. One in use stays as it is for whoever uses it now, also if they are still
 * filling it, and goes when the last of them has ended; whoever comes later does not put that off.
 */
export class Removals {
  readonly #drop: (digest: Digest) => void;
  readonly #users = new Map<Digest, Set<object>>();
  /** Of blobs to be removed: those who used them when that was wished. */
  readonly #waiting = new Map<Digest, Set<object>>();

  constructor(drop: (digest: Digest) => void) {
    this.#drop = drop;
  }

  /** Somebody begins to read or to fill a blob. @returns call it, once, when that has ended. */
  use(digest: Digest): () => void {
    const users = this.#users.get(digest) ?? new Set();
    this.#users.set(digest, users);
    const user = {};
    users.add(user);
    return () => {
      users.delete(user);
      if (users.size === 0 && this.#users.get(digest) === users) this.#users.delete(digest);
      const waiting = this.#waiting.get(digest);
      if (waiting?.delete(user) !== true || waiting.size > 0) return;
      this.#waiting.delete(digest);
      this.#drop(digest);
    };
  }

  /** @returns false when the blob is in use, and goes once that has ended. */
  remove(digest: Digest): boolean {
    const users = this.#users.get(digest);
    if (users === undefined) {
      this.#drop(digest);
      return true;
    }
    const waiting = this.#waiting.get(digest) ?? new Set();
    this.#waiting.set(digest, waiting);
    for (const user of users) waiting.add(user);
    return false;
  }
}
