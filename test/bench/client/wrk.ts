import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { command, findCommand } from '../programs.ts';
import type { LoadResult } from './job.ts';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('ranges.lua', import.meta.url));
/** Shell's own `times`: what wrk used, in the last line. */
const TIMED = '"$@"; code=$?; times; exit $code';

export interface WrkJob {
  readonly url: string;
  readonly blobBytes: number;
  readonly rangeBytes: number;
  readonly connections: number;
  readonly seconds: number;
  readonly seed: number;
}

interface WrkSummary {
  readonly requests: number;
  readonly bytes: number;
  readonly errors: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export function hasWrk(): boolean {
  return findCommand('wrk') !== undefined;
}

/** Random ranges by wrk with one thread; `seconds` is rounded up to whole ones, which is all that wrk takes. */
export async function runWrk(job: WrkJob, signal: AbortSignal): Promise<LoadResult> {
  const { blobBytes, connections, rangeBytes, seconds, seed, url } = job;
  const args = [
    ...['-t', '1', '-c', String(connections), '-d', `${Math.ceil(seconds)}s`, '--timeout', '30s'],
    ...['-s', SCRIPT, url, '--', String(blobBytes), String(rangeBytes), String(seed)],
  ];
  const { stdout } = await run('sh', ['-c', TIMED, 'sh', command('wrk'), ...args], {
    signal,
    killSignal: 'SIGKILL',
  });
  const lines = stdout.trimEnd().split('\n');
  const summary = JSON.parse(lines.find((line) => line.startsWith('{"requests"')) ?? '') as WrkSummary;
  // wrk counts heads with the bodies.
  if (summary.errors > 0 || summary.bytes < summary.requests * rangeBytes) {
    throw new Error(`wrk: ${summary.errors} errors, ${summary.bytes} bytes in ${summary.requests} answers`);
  }
  return {
    requests: summary.requests,
    bytes: summary.requests * rangeBytes,
    seconds: summary.seconds,
    latencyMs: { p50: summary.p50Us / 1000, p99: summary.p99Us / 1000 },
    clientCpuSeconds: shellSeconds(lines.at(-1) ?? ''),
    client: 'wrk',
  };
}

/** `0m1.234000s 0m0.567000s`: user and system time of the shell's children. */
function shellSeconds(line: string): number {
  return [...line.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
}
