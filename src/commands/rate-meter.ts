/** Long enough to smooth bursts, short enough to show a stall while somebody watches. */
const WINDOW_MS = 5000;
/** Samples closer than this are taken together, so that the window holds a bounded number of them. */
const STEP_MS = 100;

interface Sample {
  readonly atMs: number;
  readonly done: number;
}

/** How fast a counter moved over the last seconds. */
export class RateMeter {
  readonly #nowMs: () => number;
  #samples: Sample[];
  #last: Sample;

  constructor(done: number, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#last = { atMs: nowMs(), done };
    this.#samples = [this.#last];
  }

  update(done: number): void {
    const atMs = this.#nowMs();
    this.#last = { atMs, done };
    const newest = this.#samples.at(-1);
    if (newest !== undefined && atMs - newest.atMs < STEP_MS) return;
    this.#samples.push(this.#last);
    // One sample from before the window stays, as its beginning.
    while ((this.#samples[1]?.atMs ?? atMs) < atMs - WINDOW_MS) this.#samples.shift();
  }

  get bytesPerSecond(): number {
    const first = this.#samples[0];
    if (first === undefined) return 0;
    const seconds = (this.#last.atMs - first.atMs) / 1000;
    return seconds <= 0 ? 0 : Math.max(0, this.#last.done - first.done) / seconds;
  }
}
