import { type FileOutcome, failure, type SuiteOutcome } from './outcome.ts';
import { runTestFile } from './run-file.ts';
import type { Suite } from './suites.ts';

export interface RunSuiteOptions {
  readonly projectRoot: string;
  readonly signal: AbortSignal;
  readonly onFile: (outcome: FileOutcome) => void;
}

/** Runs the files of a suite, some at once, until they are done or the suite's budget is used up. */
export async function runSuite(
  suite: Suite,
  files: readonly string[],
  options: RunSuiteOptions,
): Promise<SuiteOutcome> {
  const started = performance.now();
  const budget = new AbortController();
  const seconds = Math.round(suite.budgetMs / 1000);
  const timer = setTimeout(
    () => budget.abort(`was ended: the ${suite.name} suite used up its ${seconds} s`),
    suite.budgetMs,
  );
  const signal = AbortSignal.any([options.signal, budget.signal]);
  const outcomes: FileOutcome[] = [];
  const queue = [...files];
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const outcome = signal.aborted
        ? notRun(file, signal)
        : await runTestFile(file, {
            projectRoot: options.projectRoot,
            timeoutMs: suite.fileTimeoutMs,
            signal,
          });
      outcomes.push(outcome);
      options.onFile(outcome);
    }
  };
  try {
    await Promise.all(Array.from({ length: suite.concurrency }, worker));
  } finally {
    clearTimeout(timer);
  }
  return { name: suite.name, ms: performance.now() - started, files: outcomes };
}

function notRun(file: string, signal: AbortSignal): FileOutcome {
  return { name: file, ms: 0, tests: [failure('(the file)', `not run: ${signal.reason}`)], output: '' };
}
