import { DamselflyError } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import type { RecentErrors } from '../observe/recent-errors.ts';

/** What is thrown, as an error of the table; what is not in it is a fault of ours, and its cause. */
export function ownFailure(error: unknown): DamselflyError {
  return error instanceof DamselflyError
    ? error
    : new DamselflyError('internal', 'A fault of Damselfly itself', { cause: error });
}

/** Tells the operator of trouble of our own; a request that was wrong by itself is not one. */
export function reportFailure(
  parts: { readonly log: Logger; readonly recentErrors: RecentErrors },
  error: DamselflyError,
  about: { readonly origin?: string | undefined; readonly repository?: string | undefined },
): void {
  if (error.status < 500) return;
  parts.recentErrors.add(error);
  const isInternal = error.code === 'internal';
  parts.log[isInternal ? 'error' : 'warn'](
    { code: error.code, facts: error.facts, ...about, err: isInternal ? error.cause : undefined },
    error.message,
  );
}
