/** The disk did not answer in time. The call itself may still be under way. */
export class TooLate extends Error {}

/**
 * Waits for `work`, but no longer than `timeoutMs` and not past an abort. The work itself goes on: whoever started it
 * looks after what it may still deliver.
 * @throws TooLate, or the signal's reason.
 */
export function within<T>(work: Promise<T>, timeoutMs: number, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    const abort = (): void => {
      end();
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      end();
      reject(new TooLate(`no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    if (signal?.aborted) {
      abort();
      return;
    }
    signal?.addEventListener('abort', abort);
    work.then(
      (value) => {
        end();
        resolve(value);
      },
      (error: unknown) => {
        end();
        reject(error);
      },
    );
  });
}
