import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCheck } from './runner/check.ts';
import { type FileOutcome, failure, type SuiteOutcome } from './runner/outcome.ts';
import { fileReport, summary, total } from './runner/report.ts';
import { runSuite } from './runner/run-suite.ts';
import { SUITES, type Suite, strayFiles, testFiles } from './runner/suites.ts';

const USAGE = `npm test                          everything that this machine can run
npm test SUITE… [-- WORD…]        suites: check, ${SUITES.map((suite) => suite.name).join(', ')}
                                  WORD: only files whose path holds one of the words`;

const projectRoot = fileURLToPath(new URL('..', import.meta.url));
const testRoot = fileURLToPath(new URL('.', import.meta.url));

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < 24) {
    console.error(
      `The tests need Node 24 and this is ${process.versions.node}. Run them with "npm test" after "npm ci": ` +
        'npm puts the Node 24 of node_modules first on the PATH.',
    );
    return 2;
  }
  const wanted = parse(args);
  if (wanted === undefined) {
    console.error(USAGE);
    return 2;
  }
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => stop.abort(`was ended: the run got ${name}`));
  }
  return await runAll(wanted, stop.signal);
}

interface Wanted {
  readonly check: boolean;
  readonly suites: readonly Suite[];
  /** Empty: every file. */
  readonly words: readonly string[];
}

function parse(args: readonly string[]): Wanted | undefined {
  const names = args.filter((arg) => arg === 'check' || SUITES.some((suite) => suite.name === arg));
  const words = args.filter((arg) => !names.includes(arg));
  if (words.some((word) => word.startsWith('-'))) return undefined;
  if (names.length === 0) {
    if (words.length > 0) return undefined;
    return { check: true, suites: SUITES.filter((suite) => suite.inFullRun), words };
  }
  return {
    check: names.includes('check'),
    suites: SUITES.filter((suite) => names.includes(suite.name)),
    words,
  };
}

async function runAll(wanted: Wanted, signal: AbortSignal): Promise<number> {
  const outcomes: SuiteOutcome[] = [];
  const onFile = (outcome: FileOutcome): void => console.log(fileReport(outcome));
  if (wanted.check) {
    console.log('check');
    outcomes.push(await runCheck(projectRoot, signal, onFile));
  }
  const leftOut: string[] = [];
  for (const suite of wanted.suites) {
    const files = testFiles(testRoot, suite.folders).filter(
      (file) =>
        wanted.words.length === 0 || wanted.words.some((word) => relative(testRoot, file).includes(word)),
    );
    console.log(suite.name);
    const outcome = await runSuite(suite, files, { projectRoot, signal, onFile });
    outcomes.push(files.length > 0 ? outcome : emptySuite(suite.name));
  }
  const stray = strayFiles(testRoot).map((file) => relative(projectRoot, file));
  if (stray.length > 0) outcomes.push(straySuite(stray));
  console.log(summary(outcomes, leftOut));
  const { passed, failed } = total(outcomes);
  const onlyCheck = wanted.suites.length === 0;
  const ranTests = onlyCheck || total(outcomes.filter((outcome) => outcome.name !== 'check')).passed > 0;
  if (!ranTests) console.error('No test ran, so nothing was shown: this run counts as failed.');
  return failed === 0 && passed > 0 && ranTests && !signal.aborted ? 0 : 1;
}

function emptySuite(name: string): SuiteOutcome {
  const line = failure('(the suite)', 'no test file was found for it');
  return { name, ms: 0, files: [{ name, ms: 0, tests: [line], output: '' }] };
}

function straySuite(files: readonly string[]): SuiteOutcome {
  const line = failure('(test files)', 'are in a folder that no suite of test/runner/suites.ts names');
  return {
    name: 'stray',
    ms: 0,
    files: files.map((name) => ({ name, ms: 0, tests: [line], output: '' })),
  };
}
