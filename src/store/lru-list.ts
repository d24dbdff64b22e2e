/** A link in an {@link LruList}. */
export interface LruNode {
  older: LruNode | null;
  newer: LruNode | null;
}

/** Intrusive list in order of last use: every operation is a few pointer moves, which a hit can afford. */
export class LruList<T extends LruNode> {
  #oldest: LruNode | null = null;
  #newest: LruNode | null = null;

  add(node: T): void {
    node.older = this.#newest;
    node.newer = null;
    if (this.#newest === null) this.#oldest = node;
    else this.#newest.newer = node;
    this.#newest = node;
  }

  remove(node: T): void {
    if (node.older === null && node.newer === null && this.#oldest !== node) return;
    if (node.older === null) this.#oldest = node.newer;
    else node.older.newer = node.newer;
    if (node.newer === null) this.#newest = node.older;
    else node.newer.older = node.older;
    node.older = null;
    node.newer = null;
  }

  touch(node: T): void {
    if (this.#newest === node) return;
    this.remove(node);
    this.add(node);
  }

  /** The least recently used one that `fits`, or null. */
  findOldest(fits: (node: T) => boolean): T | null {
    // Only T's are ever added.
    for (let node = this.#oldest as T | null; node !== null; node = node.newer as T | null)
      if (fits(node)) return node;
    return null;
  }
}
