/**
 * Waits one at a time, each of which ends with what it waits for, at its time limit, or by {@link interrupt}, whichever
 * is first. (A Promise.race with one long-lived promise would keep something of every chunk until the body's end.)
 */
export class Interruptible {
  #pending: ((error: Error) => void) | undefined;
  #interruption: Error | undefined;

  /** Ends the present wait and all later ones; the first error stands. */
  interrupt(error: Error): void {
    this.#interruption ??= error;
    this.#pending?.(this.#interruption);
  }

  /**
   * @param begin starts what is waited for, and calls back. A call that comes too late returns false: the value has
   *   no taker.
   * @param limit how many milliseconds to wait, and then either the error to end with or for how many more to go on.
   */
  wait<T>(
    begin: (resolve: (value: T) => boolean, reject: (error: Error) => void) => void,
    limit?: { readonly ms: number; readonly reached: () => Error | number },
  ): Promise<T> {
    if (this.#interruption !== undefined) return Promise.reject(this.#interruption);
    return new Promise<T>((resolve, reject) => {
      let open = true;
      let timer: NodeJS.Timeout | undefined;
      const close = () => {
        open = false;
        clearTimeout(timer);
        this.#pending = undefined;
      };
      const fail = (error: Error) => {
        if (!open) return;
        close();
        reject(error);
      };
      if (limit !== undefined) {
        const expire = () => {
          const next = limit.reached();
          if (typeof next === 'number') timer = setTimeout(expire, next);
          else fail(next);
        };
        timer = setTimeout(expire, limit.ms);
      }
      this.#pending = fail;
      const take = (value: T) => {
        if (!open) return false;
        close();
        resolve(value);
        return true;
      };
      try {
        begin(take, fail);
      } catch (error) {
        close();
        reject(error);
      }
    });
  }
}
