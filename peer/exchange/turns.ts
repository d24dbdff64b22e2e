/** Lets `places` in at once, the others in the order in which they came. */
export class Turns {
  #free: number;
  readonly #waiting: { readonly enter: () => void; readonly fail: (error: Error) => void }[] = [];
  #ended: Error | undefined;

  constructor(places: number) {
    this.#free = places;
  }

  /** Every turn that was had is to be given back by {@link leave}. */
  async enter(): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((enter, fail) => this.#waiting.push({ enter, fail }));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next.enter();
  }

  /** Nobody gets in any more. */
  end(error: Error): void {
    this.#ended ??= error;
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }
}
