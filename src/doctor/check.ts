/** `skipped`: there was nothing to look at, or it could not be looked at from here. */
export type Verdict = 'ok' | 'warning' | 'failed' | 'skipped';

/** What one check found out about one thing. */
export interface Finding {
  /** Of the check: stable, for scripts. */
  readonly name: string;
  /** The thing: an address, an origin, a file. */
  readonly subject: string | undefined;
  readonly verdict: Verdict;
  /** What was found: one sentence. */
  readonly what: string;
  /** What to do, in the imperative; undefined where nothing is to be done. */
  readonly remedy: string | undefined;
}

/** What a check says; its name is put to it by whoever runs it. */
export type Found = Omit<Finding, 'name'>;

export interface Check {
  readonly name: string;
  /** Anything thrown becomes a finding of its own; the signal's end is the check's. */
  run(signal: AbortSignal): Promise<readonly Found[]>;
}

export function ok(subject: string | undefined, what: string): Found {
  return { subject, verdict: 'ok', what, remedy: undefined };
}

export function skipped(subject: string | undefined, what: string): Found {
  return { subject, verdict: 'skipped', what, remedy: undefined };
}

export function warning(subject: string | undefined, what: string, remedy: string): Found {
  return { subject, verdict: 'warning', what, remedy };
}

export function failed(subject: string | undefined, what: string, remedy: string): Found {
  return { subject, verdict: 'failed', what, remedy };
}
