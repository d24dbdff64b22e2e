import { DamselflyError, type ErrorCode } from '../errors.ts';

/**
 * How sending a body ended.
 *  - `sent`: every announced byte has been given to the kernel, and the response is over.
 *  - `client-gone`: the client closed the connection, or took no byte for its whole idle time.
 *  - `source-failed`: the bytes could not be had, or were not as many as announced, or the caller ended it.
 *  - `stalled`: they did not come in time.
 */
export type BodyOutcome = 'sent' | 'client-gone' | 'source-failed' | 'stalled';

/** Ends a body early: thrown inside the body writer, and never out of it. */
export class BodyEnded extends Error {
  readonly outcome: Exclude<BodyOutcome, 'sent'>;
  /** What to tell and to log. */
  readonly reason: unknown;

  constructor(outcome: Exclude<BodyOutcome, 'sent'>, reason: unknown) {
    super(outcome);
    this.name = 'BodyEnded';
    this.outcome = outcome;
    this.reason = reason;
  }
}

export function clientGone(message: string, cause?: unknown): BodyEnded {
  return new BodyEnded('client-gone', new Error(message, { cause }));
}

export function sourceFailed(code: ErrorCode, message: string, cause?: unknown): BodyEnded {
  return new BodyEnded('source-failed', new DamselflyError(code, message, { cause }));
}

export function stalled(message: string): BodyEnded {
  return new BodyEnded('stalled', new DamselflyError('deadline', message));
}
