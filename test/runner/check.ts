import { join } from 'node:path';
import { type FileOutcome, failure, type SuiteOutcome } from './outcome.ts';
import { runProcess } from './run-process.ts';

const STEP_TIMEOUT_MS = 3 * 60_000;

const STEPS: readonly { readonly name: string; readonly args: readonly string[] }[] = [
  { name: 'biome check', args: ['biome', 'check', '--error-on-warnings', '.'] },
  { name: 'tsc', args: ['tsc', '-p', 'tsconfig.json'] },
];

/** The linter with its rule on folders, and the type check: a stage of its own before the tests. */
export async function runCheck(
  projectRoot: string,
  signal: AbortSignal,
  onFile: (outcome: FileOutcome) => void,
): Promise<SuiteOutcome> {
  const started = performance.now();
  const files: FileOutcome[] = [];
  for (const { name, args } of STEPS) {
    const [program = '', ...rest] = args;
    const ran = await runProcess(join(projectRoot, 'node_modules', '.bin', program), rest, {
      cwd: projectRoot,
      timeoutMs: STEP_TIMEOUT_MS,
      signal,
    });
    const ok = ran.exitCode === 0 && ran.killed === undefined;
    const why = ran.killed ?? `exit code ${ran.exitCode}; fix what it prints above`;
    const outcome: FileOutcome = {
      name,
      ms: ran.ms,
      tests: [
        ok ? { result: 'passed', path: [name], ms: ran.ms, detail: undefined } : failure(name, why, ran.ms),
      ],
      output: ran.output,
    };
    files.push(outcome);
    onFile(outcome);
  }
  return { name: 'check', ms: performance.now() - started, files };
}
