/** What {@link waitFor} gives when the patience ended first. */
export const UNANSWERED: unique symbol = Symbol('unanswered');

/**
 * Waits for `answer` on behalf of one of several waiters: until it settles, `signal` aborts (its reason is thrown), or
 * `ms` have passed. The answer itself goes on; nothing stays behind of a waiter that left.
 */
export function waitFor<T>(
  answer: Promise<T>,
  signal: AbortSignal,
  ms: number,
): Promise<T | typeof UNANSWERED> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const onAbort = () => {
      leave();
      reject(signal.reason);
    };
    const timer = setTimeout(
      () => {
        leave();
        resolve(UNANSWERED);
      },
      Math.max(0, ms),
    );
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    // Also then: an answer that nobody listens to and that fails would end the process.
    answer.then(
      (value) => {
        leave();
        resolve(value);
      },
      (error: unknown) => {
        leave();
        reject(error);
      },
    );
  });
}
