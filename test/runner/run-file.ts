import { mkdir, mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type EndLine, type FileOutcome, failure, type TestLine } from './outcome.ts';
import { removeTree } from './remove-tree.ts';
import { type ProcessOutcome, runProcess } from './run-process.ts';

const REPORTER = fileURLToPath(new URL('reporter.ts', import.meta.url));

export interface RunFileOptions {
  readonly projectRoot: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Runs one test file in a process and a process group of its own. `node --test` is not used for this, because it
 * waits for ever for a file whose tests are over but whose process does not end.
 */
export async function runTestFile(file: string, options: RunFileOptions): Promise<FileOutcome> {
  const scratch = await mkdtemp(join(tmpdir(), 'damselfly-run-'));
  const events = join(scratch, 'events.jsonl');
  const temporary = join(scratch, 'tmp');
  try {
    await mkdir(temporary);
    const ran = await runProcess(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        // Shorter than the file's own limit, so that a test that waits for ever is named.
        `--test-timeout=${Math.floor(options.timeoutMs * 0.9)}`,
        `--test-reporter=${REPORTER}`,
        `--test-reporter-destination=${events}`,
        file,
      ],
      {
        cwd: options.projectRoot,
        // Its own, so that nothing stays on the machine, whatever became of the file.
        env: { TMPDIR: temporary },
        timeoutMs: options.timeoutMs,
        signal: options.signal,
      },
    );
    const lines = await readLines(events);
    const tests = lines.filter((line) => line.result !== 'end');
    const ended = lines.some((line) => line.result === 'end');
    return {
      name: relative(options.projectRoot, file),
      ms: ran.ms,
      tests: [...tests, ...ownFailures(ran, tests, ended, await readdir(temporary))],
      output: ran.output,
    };
  } finally {
    await removeTree(scratch);
  }
}

/** What is wrong with the file as a whole, beyond what its tests said. */
function ownFailures(
  ran: ProcessOutcome,
  tests: readonly TestLine[],
  ended: boolean,
  leftFiles: readonly string[],
): TestLine[] {
  if (ran.killed !== undefined) {
    return [
      failure(
        '(the file)',
        `${ran.killed}: a test hangs, or a handle, timer or process was left open`,
        ran.ms,
      ),
    ];
  }
  const failures: TestLine[] = [];
  const failed = tests.some((test) => test.result === 'failed');
  if (!failed && ran.exitCode !== 0) {
    failures.push(failure('(the file)', `ended with ${ran.signal ?? `exit code ${ran.exitCode}`}`, ran.ms));
  } else if (!failed && !ended) {
    failures.push(failure('(the file)', 'ended before its tests did (process.exit?)', ran.ms));
  } else if (tests.length === 0) {
    failures.push(failure('(the file)', 'holds no test', ran.ms));
  }
  if (ran.leftovers.length > 0) {
    failures.push(failure('(the file)', `left processes running: ${ran.leftovers.join(', ')}`, ran.ms));
  }
  // After a failure they say nothing new.
  if (!failed && leftFiles.length > 0) {
    failures.push(failure('(the file)', `left in the temporary folder: ${leftFiles.join(', ')}`, ran.ms));
  }
  return failures;
}

async function readLines(path: string): Promise<(TestLine | EndLine)[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return [];
  }
  // The last line may be cut short when the process was killed.
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TestLine | EndLine);
}
