import { DamselflyError } from '../../src/errors.ts';
import { dialFailureOf } from '../../src/observe/swarm-labels.ts';
import type { Member } from '../member.ts';
import type { DialFailure, ExchangeCounters, TransportName } from './counters.ts';
import type { Refusals } from './refusals.ts';

/** Counts a dial that came to nothing; a refusal is named in the log as well, once a minute. */
export function countFailedDial(failed: {
  transport: TransportName;
  error: unknown;
  to: Member;
  counters: ExchangeCounters;
  refusals: Refusals;
}): void {
  const { transport, error, to, counters, refusals } = failed;
  if (error instanceof DamselflyError && error.code !== 'peer-unreachable') {
    const reason = error.code === 'peer-refused' ? 'identity' : 'protocol';
    refusals.note('out', reason, to.id, error.message);
    return;
  }
  counters.dialFailed(transport, failureOf(error));
}

/** Why a dial came to nothing. */
export function failureOf(error: unknown): DialFailure {
  const cause = error instanceof DamselflyError ? error.cause : error;
  if (cause instanceof DOMException && cause.name === 'TimeoutError') return 'timeout';
  return dialFailureOf((cause as NodeJS.ErrnoException | undefined)?.code);
}
