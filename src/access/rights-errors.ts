import type { Upstream } from '../blob/upstream.ts';
import { DamselflyError } from '../errors.ts';

/** This waiter's patience has ended. */
export function unanswered(upstream: Upstream, patienceMs: number): DamselflyError {
  return new DamselflyError('origin-timeout', `${upstream.origin} did not answer within ${patienceMs} ms`, {
    facts: { origin: upstream.origin, patienceMs },
  });
}

/** Nobody can say, and what is known is not enough. */
export function denied(
  upstream: Upstream,
  whenOriginDown: 'deny' | 'allow',
  cause: DamselflyError,
): DamselflyError {
  const why =
    whenOriginDown === 'deny'
      ? 'access.whenOriginDown is "deny"'
      : 'this requester was not known within access.grace';
  return new DamselflyError(
    'rights-unknown',
    `${upstream.origin} cannot be asked who may read ${upstream.repository} and ${why}: ${cause.message}`,
    { facts: { origin: upstream.origin, repository: upstream.repository, because: cause.code }, cause },
  );
}

/** Of our own. */
export function fault(upstream: Upstream, cause: unknown): DamselflyError {
  return new DamselflyError(
    'internal',
    `Asking ${upstream.origin} for rights failed unexpectedly; see the log`,
    { cause },
  );
}
