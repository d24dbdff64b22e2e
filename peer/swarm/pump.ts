/** A pure state machine: events go in by its own methods, what is to be done comes out here. */
export interface Machine<Action> {
  take(): Action[];
  tick(): void;
  /** On the clock; undefined: nothing is due. */
  nextAt(): number | undefined;
}

/** Longest wait of a timer: a clock that was wrong once is looked at again soon. */
const MAX_WAIT_MS = 1_000;
/** Turns between two of which nothing else may run; then the rest of the node has one, and time goes on. */
const MAX_TURNS_AT_ONCE = 256;

/**
 * Carries out what a machine wants: after the events of one turn of the loop have gone in, so that what belongs together
 * is one action, and again whenever something is due.
 */
export class Pump<Action> {
  readonly #machine: Machine<Action>;
  readonly #perform: (action: Action) => void;
  readonly #clock: () => number;
  #isWoken = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #turns = 0;

  constructor(machine: Machine<Action>, perform: (action: Action) => void, clock: () => number) {
    this.#machine = machine;
    this.#perform = perform;
    this.#clock = clock;
  }

  wake(): void {
    if (this.#isWoken || this.#isStopped) return;
    this.#isWoken = true;
    this.#turns += 1;
    if (this.#turns % MAX_TURNS_AT_ONCE === 0) setImmediate(() => this.#turn());
    else queueMicrotask(() => this.#turn());
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #turn(): void {
    this.#isWoken = false;
    if (this.#isStopped) return;
    for (const action of this.#machine.take()) this.#perform(action);
    this.#arm();
  }

  #arm(): void {
    const at = this.#machine.nextAt() ?? Number.POSITIVE_INFINITY;
    // A timer that comes too early costs one look; one is not replaced for a later time.
    if (at >= this.#timerAt && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.min(Math.max(at - this.#clock(), 1), MAX_WAIT_MS);
    this.#timer = setTimeout(() => this.#due(), waitMs);
    this.#timer.unref();
  }

  #due(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#machine.tick();
    this.#turn();
  }
}
