import { type Counts, count, type FileOutcome, type SuiteOutcome, type TestLine } from './outcome.ts';

const OUTPUT_LINES = 40;

/** One line for a file that ran, and all there is to know when it failed. */
export function fileReport(outcome: FileOutcome): string {
  const { passed, failed, skipped } = count(outcome.tests);
  const mark = failed > 0 ? 'FAIL' : passed > 0 ? 'ok  ' : 'left';
  const notes = [
    `${passed} passed`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ];
  const lines = [`  ${mark} ${outcome.name}  ${notes.join(', ')}  ${seconds(outcome.ms)}`];
  if (failed > 0) {
    for (const test of outcome.tests)
      if (test.result === 'failed') lines.push(indent(failureReport(test), 7));
    const output = outcome.output.trimEnd();
    if (output !== '') {
      lines.push(indent(`printed (the last ${OUTPUT_LINES} lines):`, 7));
      lines.push(indent(output.split('\n').slice(-OUTPUT_LINES).join('\n'), 9));
    }
  }
  return lines.join('\n');
}

/** The table, the list of what was left out, the failures by name, and the closing line. */
export function summary(suites: readonly SuiteOutcome[], leftOut: readonly string[]): string {
  const lines = [
    '',
    `${'suite'.padEnd(14)}${'passed'.padStart(8)}${'failed'.padStart(8)}${'skipped'.padStart(9)}    time`,
  ];
  for (const suite of suites) {
    const counts = count(testsOf(suite));
    lines.push(
      `${suite.name.padEnd(14)}${String(counts.passed).padStart(8)}${String(counts.failed).padStart(8)}` +
        `${String(counts.skipped).padStart(9)}    ${seconds(suite.ms)}`,
    );
  }
  const left = [...leftOut, ...skips(suites)];
  if (left.length > 0) lines.push('', 'Left out:', ...left.map((line) => `  - ${line}`));
  const failures = suites.flatMap((suite) =>
    suite.files.flatMap((file) =>
      file.tests
        .filter((test) => test.result === 'failed')
        .map((test) => `${file.name}: ${test.path.join(' > ')}`),
    ),
  );
  if (failures.length > 0) lines.push('', 'Failed:', ...failures.map((line) => `  - ${line}`));
  const { passed, failed, skipped } = total(suites);
  lines.push('', `${passed} passed, ${failed} failed, ${skipped} skipped`);
  return lines.join('\n');
}

export function total(suites: readonly SuiteOutcome[]): Counts {
  return count(suites.flatMap(testsOf));
}

/** Skipped tests gathered by their reason: "e2e: needs root (3 tests: …)". */
function skips(suites: readonly SuiteOutcome[]): string[] {
  const lines: string[] = [];
  for (const suite of suites) {
    const byReason = new Map<string, string[]>();
    for (const file of suite.files) {
      for (const test of file.tests) {
        if (test.result !== 'skipped') continue;
        const names = byReason.get(test.detail ?? '') ?? [];
        names.push(test.path.join(' > '));
        byReason.set(test.detail ?? '', names);
      }
    }
    for (const [reason, names] of byReason) {
      const shown = names.slice(0, 3).join('; ') + (names.length > 3 ? '; …' : '');
      lines.push(
        `${suite.name}: ${reason} (${names.length} ${names.length === 1 ? 'test' : 'tests'}: ${shown})`,
      );
    }
  }
  return lines;
}

function testsOf(suite: SuiteOutcome): TestLine[] {
  return suite.files.flatMap((file) => file.tests);
}

function failureReport(test: TestLine): string {
  return `✗ ${test.path.join(' > ')}  ${seconds(test.ms)}\n${indent(test.detail ?? '', 2)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function indent(text: string, columns: number): string {
  return text.replaceAll(/^(?=.)/gm, ' '.repeat(columns));
}
