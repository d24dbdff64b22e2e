/** What became of one test, as the reporter in the test process writes it: one JSON line each. */
export interface TestLine {
  readonly result: 'passed' | 'failed' | 'skipped';
  /** Names from the outermost describe inwards. */
  readonly path: readonly string[];
  readonly ms: number;
  /** Why it was skipped, or the error with its stack. */
  readonly detail: string | undefined;
}

/** Written when the tests of a file are over, though its process may still live. */
export interface EndLine {
  readonly result: 'end';
}

/** One file (or one step of the check stage) after it ran. */
export interface FileOutcome {
  /** As shown to a person. */
  readonly name: string;
  readonly ms: number;
  readonly tests: readonly TestLine[];
  /** What the process printed, its last 64 KiB; shown when something failed. */
  readonly output: string;
}

export interface SuiteOutcome {
  readonly name: string;
  readonly ms: number;
  readonly files: readonly FileOutcome[];
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function count(tests: readonly TestLine[]): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const test of tests) counts[test.result] += 1;
  return counts;
}

export function failure(name: string, detail: string, ms = 0): TestLine {
  return { result: 'failed', path: [name], ms, detail };
}
