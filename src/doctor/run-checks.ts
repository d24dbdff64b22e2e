import type { Check, Finding, Found } from './check.ts';

/** For one check, and thereby for all, since they run together. */
export const CHECK_TIMEOUT_MS = 9_000;
/** What a check that does not listen to its signal gets beyond that. */
const GRACE_MS = 500;

/**
 * Runs all checks at once. None can crash or hold up the others: one that throws or takes too long is a finding.
 * @returns in the order of the checks.
 */
export async function runChecks(
  checks: readonly Check[],
  stop: AbortSignal,
  timeoutMs: number = CHECK_TIMEOUT_MS,
): Promise<Finding[]> {
  const found = await Promise.all(checks.map((check) => runOne(check, stop, timeoutMs)));
  return found.flat();
}

async function runOne(check: Check, stop: AbortSignal, timeoutMs: number): Promise<Finding[]> {
  const deadline = new AbortController();
  const late = Promise.withResolvers<never>();
  const ending = setTimeout(() => deadline.abort(new TookTooLong()), timeoutMs);
  const ended = setTimeout(() => late.reject(new TookTooLong()), timeoutMs + GRACE_MS);
  const stopped = (): void => late.reject(stop.reason);
  stop.addEventListener('abort', stopped, { once: true });
  try {
    stop.throwIfAborted();
    const work = Promise.resolve().then(() => check.run(AbortSignal.any([deadline.signal, stop])));
    const found = await Promise.race([work, late.promise]);
    return found.map(({ subject, verdict, what, remedy }) => {
      return { name: check.name, subject, verdict, what, remedy };
    });
  } catch (error) {
    if (stop.aborted) throw stop.reason;
    return [{ name: check.name, ...notDone(error, deadline.signal.aborted, timeoutMs) }];
  } finally {
    clearTimeout(ending);
    clearTimeout(ended);
    stop.removeEventListener('abort', stopped);
  }
}

class TookTooLong extends Error {}

function notDone(error: unknown, isLate: boolean, timeoutMs: number): Found {
  if (isLate || error instanceof TookTooLong) {
    return {
      subject: undefined,
      verdict: 'failed',
      what: `no answer within ${timeoutMs / 1000} s`,
      remedy: 'Look at what this check asks: a disk, a name server or a network that does not answer',
    };
  }
  const text = error instanceof Error ? error.message : String(error);
  return {
    subject: undefined,
    verdict: 'failed',
    what: `the check itself failed: ${text}`,
    remedy: 'Report this as a fault of damselfly; the other checks are not affected',
  };
}
