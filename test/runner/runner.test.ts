import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileReport, summary } from './report.ts';
import { runTestFile } from './run-file.ts';
import { runSuite } from './run-suite.ts';
import { type Suite, strayFiles, testFiles } from './suites.ts';

const NEVER = new AbortController().signal;
const HEAD =
  "import assert from 'node:assert/strict'; import { before, describe, it, test } from 'node:test';\n";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'damselfly-runner-test-'));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function file(name: string, source: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, HEAD + source);
  return path;
}

async function run(name: string, source: string, timeoutMs = 20_000) {
  return await runTestFile(await file(name, source), { projectRoot: folder, timeoutMs, signal: NEVER });
}

function results(outcome: Awaited<ReturnType<typeof run>>): string[] {
  return outcome.tests.map((line) => `${line.result} ${line.path.join('/')}`);
}

test('passes, failures and skips are told apart, and a skip never counts as passed', async () => {
  const outcome = await run(
    'mixed.test.ts',
    `test('good', () => {});
     test('left out', { skip: 'needs root' }, () => {});
     test('left out inside', (t) => t.skip('no fuse'));
     describe('group', () => { it('bad', () => assert.equal(1, 2)); it('fine', () => {}); });
     describe('group left out', { skip: 'no disk' }, () => { it('x', () => {}); });
     test('later', { todo: 'not yet' }, () => {});`,
  );
  assert.deepEqual(results(outcome), [
    'passed good',
    'skipped left out',
    'skipped left out inside',
    'failed group/bad',
    'passed group/fine',
    'skipped group left out',
    'skipped later',
  ]);
  const text = summary([{ name: 'unit', ms: 1, files: [outcome] }], ['e2e: something is not installed']);
  assert.match(text, /- e2e: something is not installed\n/);
  assert.match(text, /- unit: needs root \(1 test: left out\)/);
  assert.match(text, /- mixed\.test\.ts: group > bad/);
  assert.match(text, /\n2 passed, 1 failed, 4 skipped$/);
  assert.match(fileReport(outcome), /AssertionError/);
});

test('a hook that fails is a failure, even where every test was only cancelled by it', async () => {
  const outcome = await run(
    'hook.test.ts',
    "describe('group', () => { before(() => { throw new Error('no server'); }); it('x', () => {}); });",
  );
  assert.ok(outcome.tests.some((line) => line.result === 'failed' && line.detail?.includes('no server')));
});

test('a file that cannot be loaded, or holds no test, or ends early, is a failure', async () => {
  assert.match(results(await run('broken.test.ts', "throw new Error('at load');")).join(), /failed/);
  assert.deepEqual(results(await run('empty.test.ts', '')), ['failed (the file)']);
  assert.match(
    results(await run('exits.test.ts', "test('a', () => {}); test('b', () => process.exit(0));")).join(),
    /failed/,
  );
});

test('a file that hangs is killed, and so is one that leaves a handle open', async () => {
  const spins = await run('spins.test.ts', "test('x', () => { for (;;) {} });", 5_000);
  assert.match(spins.tests.at(-1)?.detail ?? '', /did not end within/);
  const waits = await run(
    'waits.test.ts',
    "test('x', async () => { setInterval(() => {}, 1000); await new Promise(() => {}); });",
    5_000,
  );
  assert.deepEqual(results(waits), ['failed x', 'failed (the file)']);
  const open = await run('open.test.ts', "test('x', () => { setInterval(() => {}, 1000); });", 5_000);
  assert.equal(results(open)[0], 'passed x');
  assert.match(open.tests.at(-1)?.detail ?? '', /left open/);
});

test('a process that a file leaves behind is killed and named', async () => {
  const outcome = await run(
    'leaves.test.ts',
    `import { spawn } from 'node:child_process';
     test('x', () => { spawn('sleep', ['60'], { stdio: 'ignore' }).unref(); });`,
  );
  assert.match(outcome.tests.at(-1)?.detail ?? '', /left processes running: sleep/);
});

test('files that stay behind are removed and named', async () => {
  const outcome = await run(
    'litters.test.ts',
    `import { mkdtempSync } from 'node:fs'; import { tmpdir } from 'node:os';
     test('x', () => { console.log(mkdtempSync(tmpdir() + '/litter-')); });`,
  );
  assert.match(outcome.tests.at(-1)?.detail ?? '', /left in the temporary folder: litter-/);
  await assert.rejects(stat(outcome.output.trim()), { code: 'ENOENT' });
});

test('a suite past its budget is ended, and the files it did not reach are failures', async () => {
  const files = [
    await file('budget/a.test.ts', "test('x', () => { setInterval(() => {}, 1000); });"),
    await file('budget/b.test.ts', "test('y', () => {});"),
  ];
  const suite: Suite = {
    name: 'slow',
    folders: [],
    budgetMs: 1_500,
    fileTimeoutMs: 20_000,
    concurrency: 1,
    inFullRun: true,
  };
  const outcome = await runSuite(suite, files, {
    projectRoot: folder,
    signal: NEVER,
    onFile: () => undefined,
  });
  const details = outcome.files.map((ran) => ran.tests.at(-1)?.detail ?? '');
  assert.match(details[0] ?? '', /used up its/);
  assert.match(details[1] ?? '', /not run/);
});

test('files are found by folder, and one in a folder that no suite names is found too', async () => {
  const root = join(folder, 'tree');
  await file('tree/unit/deep/a.test.ts', '');
  await file('tree/blob/b.test.ts', '');
  await file('tree/blob/helper.ts', '');
  await file('tree/stray.test.ts', '');
  assert.deepEqual(testFiles(root, ['blob', 'missing']), [join(root, 'blob', 'b.test.ts')]);
  assert.deepEqual(strayFiles(root).sort(), [join(root, 'stray.test.ts'), join(root, 'unit/deep/a.test.ts')]);
});
