import type { Finding, Verdict } from '../doctor/check.ts';
import type { DoctorReport } from '../doctor/report.ts';
import { formatSeconds } from './quantity.ts';

const MARKS: Readonly<Record<Verdict, string>> = {
  ok: 'ok',
  warning: 'WARNING',
  failed: 'FAILED',
  skipped: '-',
};
const MARK_WIDTH = 9;

/** Paints the mark of a verdict; plain where there is no terminal. */
export type Paint = (verdict: Verdict, text: string) => string;

/** The findings as a person reads them: what has to be mended stands out, with what to do below it. */
export function doctorText(report: DoctorReport, paint: Paint = (_, text) => text): string {
  const nameWidth = Math.max(...report.findings.map(({ name }) => name.length)) + 2;
  const lines = report.findings.flatMap((finding) => findingLines(finding, nameWidth, paint));
  return [...lines, '', sum(report)].join('\n');
}

function findingLines(
  { name, subject, verdict, what, remedy }: Finding,
  nameWidth: number,
  paint: Paint,
): string[] {
  const mark = paint(verdict, MARKS[verdict].padEnd(MARK_WIDTH));
  const text = subject === undefined ? what : `${subject}: ${what}`;
  const line = `${mark}${name.padEnd(nameWidth)}${text}`;
  return remedy === undefined ? [line] : [line, `${' '.repeat(MARK_WIDTH + nameWidth)}→ ${remedy}`];
}

function sum({ counts, seconds }: DoctorReport): string {
  const { ok, warning, failed, skipped } = counts;
  const verdict = failed > 0 ? `${failed} failed` : 'nothing failed';
  const warnings = `${warning} ${warning === 1 ? 'warning' : 'warnings'}`;
  return `${verdict}, ${warnings}, ${ok} ok, ${skipped} not checked, in ${formatSeconds(seconds)}`;
}
