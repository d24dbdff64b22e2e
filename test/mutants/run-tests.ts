import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { TestLine } from '../runner/outcome.ts';
import { MARK_VARIABLE, MUTANT_VARIABLE, type Mutant } from './mutation.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const REGISTER = new URL('register.ts', import.meta.url).href;
const REPORTER = fileURLToPath(new URL('../runner/reporter.ts', import.meta.url));
/** A mutant may hang what it was in: that is seen, too. */
const FILE_TIMEOUT_MS = 90_000;
const TEST_TIMEOUT_MS = 30_000;

export interface Ran {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** The part was really put in. */
  readonly isMutated: boolean;
  readonly output: string;
}

/** Runs the tests of one file whose titles begin so, in a process of its own, with the mutant or (undefined) as it is. */
export async function runTests(
  file: string,
  titles: readonly string[],
  mutant: Mutant | undefined,
): Promise<Ran> {
  const folder = await mkdtemp(join(tmpdir(), 'damselfly-mutant-'));
  const events = join(folder, 'events.jsonl');
  const mark = join(folder, 'mark');
  try {
    const child = spawn(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        ...(mutant === undefined ? [] : ['--import', REGISTER]),
        // node:test looks for it in the names of the suites around, and its own, with a space between them.
        `--test-name-pattern=(^| )(${titles.map(escaped).join('|')})`,
        `--test-timeout=${TEST_TIMEOUT_MS}`,
        `--test-reporter=${REPORTER}`,
        `--test-reporter-destination=${events}`,
        file,
      ],
      {
        cwd: PROJECT,
        env: {
          ...process.env,
          // Of a test that runs these: its child would report to it, in its own way.
          NODE_TEST_CONTEXT: undefined,
          TMPDIR: folder,
          [MUTANT_VARIABLE]: mutant?.name,
          [MARK_VARIABLE]: mark,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: FILE_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      },
    );
    const [out, error] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    const lines = (await readOr(events, ''))
      .split('\n')
      .filter((line) => line.endsWith('}'))
      .map((line) => JSON.parse(line) as TestLine);
    // A suite around a test fails with it; only the tests that were asked for count.
    const named = lines.filter(({ path }) =>
      path?.some((part) => titles.some((title) => part.startsWith(title))),
    );
    const of = (result: TestLine['result']): string[] =>
      named.filter((line) => line.result === result).map(({ path }) => path.join(' › '));
    return {
      passed: of('passed'),
      failed: of('failed'),
      isMutated: (await readOr(mark, '')) !== '',
      output: `${out}${error}`,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readOr(path: string, instead: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return instead;
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
