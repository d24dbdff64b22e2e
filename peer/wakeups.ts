interface Entry<K> {
  readonly key: K;
  readonly at: number;
}

/** Who is to be woken when: one time per key, the earliest first. Times are those of the caller's clock, in ms. */
export class Wakeups<K> {
  readonly #times = new Map<K, number>();
  /** A binary heap by time. Entries that a later `set` replaced stay in it until they surface. */
  #heap: Entry<K>[] = [];

  /** @param at undefined: not at all. */
  set(key: K, at: number | undefined): void {
    if (this.#times.get(key) === at) return;
    if (at === undefined) {
      this.#times.delete(key);
      return;
    }
    this.#times.set(key, at);
    this.#push({ key, at });
    if (this.#heap.length > 64 + 4 * this.#times.size) this.#rebuild();
  }

  next(): number | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || this.#times.get(first.key) === first.at) return first?.at;
      this.#pop();
    }
  }

  /** Those whose time has come; they have none afterwards. */
  takeDue(now: number): K[] {
    const due: K[] = [];
    for (let at = this.next(); at !== undefined && at <= now; at = this.next()) {
      const entry = this.#pop();
      if (entry === undefined) break;
      this.#times.delete(entry.key);
      due.push(entry.key);
    }
    return due;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [key, at] of this.#times) this.#push({ key, at });
  }

  #push(entry: Entry<K>): void {
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const other = heap[above];
      if (other === undefined || other.at <= entry.at) break;
      heap[index] = other;
      index = above;
    }
    heap[index] = entry;
  }

  #pop(): Entry<K> | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      const left = heap[below];
      if (left === undefined) break;
      const right = heap[below + 1];
      if (right !== undefined && right.at < left.at) below += 1;
      const least = heap[below];
      if (least === undefined || least.at >= last.at) break;
      heap[index] = least;
      index = below;
    }
    heap[index] = last;
    return first;
  }
}
