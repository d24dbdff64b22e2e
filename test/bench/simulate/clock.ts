interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Simulated time, in ms: events run in order of time, those of one time in the order in which they were made. */
export class SimClock {
  now = 0;
  readonly #heap: Event[] = [];
  #order = 0;

  at(time: number, run: () => void): void {
    this.#order += 1;
    const event = { at: Math.max(time, this.now), order: this.#order, run };
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const other = heap[above];
      if (other === undefined || isBefore(other, event)) break;
      heap[index] = other;
      index = above;
    }
    heap[index] = event;
  }

  in(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Until nothing is left, `isOver`, or `limitMs`. @returns whether it was over. */
  run(isOver: () => boolean, limitMs: number): boolean {
    for (;;) {
      if (isOver()) return true;
      const event = this.#pop();
      if (event === undefined || event.at > limitMs) return false;
      this.now = event.at;
      event.run();
    }
  }

  #pop(): Event | undefined {
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
      if (right !== undefined && isBefore(right, left)) below += 1;
      const least = heap[below];
      if (least === undefined || isBefore(last, least)) break;
      heap[index] = least;
      index = below;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
