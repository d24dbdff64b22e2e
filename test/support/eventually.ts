import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks again and again until `check` gives something other than undefined, null or false, and does not throw.
 * For facts that nothing announces; where there is an event, wait for that.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly everyMs?: number; readonly what?: string } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const { timeoutMs = 5_000, everyMs = 10, what = String(check) } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await check();
      if (value !== undefined && value !== null && value !== false) {
        return value as NonNullable<Exclude<T, false>>;
      }
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause });
    await sleep(everyMs);
  }
}
