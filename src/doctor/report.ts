import type { Finding, Verdict } from './check.ts';

/** What `doctor --json` prints; keys are only ever added. */
export interface DoctorReport {
  readonly version: string;
  /** Nothing failed. */
  readonly ok: boolean;
  readonly counts: Readonly<Record<Verdict, number>>;
  readonly seconds: number;
  readonly findings: readonly Finding[];
}

export function reportOf(findings: readonly Finding[], version: string, seconds: number): DoctorReport {
  const count = (verdict: Verdict): number => findings.filter((one) => one.verdict === verdict).length;
  const counts = {
    ok: count('ok'),
    warning: count('warning'),
    failed: count('failed'),
    skipped: count('skipped'),
  };
  return { version, ok: counts.failed === 0, counts, seconds, findings };
}
