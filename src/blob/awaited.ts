/**
 * Whether a reader stands still until the read has come. What is read ahead of readers has time until then; from then on
 * the reader's client counts.
 */
export class Awaited {
  #isSo = false;
  readonly #listeners = new Set<() => void>();

  get isSo(): boolean {
    return this.#isSo;
  }

  /** A reader has come to it; it is so for good. */
  begin(): void {
    if (this.#isSo) return;
    this.#isSo = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** @returns a function that takes the listener back. */
  onBegin(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
