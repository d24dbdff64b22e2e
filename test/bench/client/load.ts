import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { LoadJob, LoadResult } from './job.ts';
import { hasWrk, runWrk } from './wrk.ts';

const run = promisify(execFile);
const CLIENT = fileURLToPath(new URL('main.ts', import.meta.url));
/**
 * wrk costs least per request, but reads 8 KiB at a time, which makes it the bottleneck for bigger bodies; and it
 * can only go on for a while, over ranges of one blob.
 */
const MAX_WRK_BYTES = 64 * 1024;

/** Runs a load in a process of its own. */
export async function load(job: LoadJob, signal: AbortSignal): Promise<LoadResult> {
  const [url, ...more] = job.urls;
  if (url !== undefined && more.length === 0 && 'seconds' in job.until && !job.digest && hasWrk()) {
    const { rangeBytes = Number.POSITIVE_INFINITY, until } = job;
    if (rangeBytes <= MAX_WRK_BYTES)
      return await runWrk({ ...job, url, rangeBytes, seconds: until.seconds }, signal);
  }
  const stdout = await output([CLIENT, JSON.stringify(job)], signal);
  return JSON.parse(stdout) as LoadResult;
}

/** Reads a whole blob once. @throws when its bytes are not the digest's. */
export async function readVerified(
  url: string,
  blob: { readonly digest: string; readonly size: number },
  signal: AbortSignal,
): Promise<LoadResult> {
  const job = {
    urls: [url],
    blobBytes: blob.size,
    connections: 1,
    until: { requests: 1 },
    seed: 0,
    digest: true,
  };
  const result = await load(job, signal);
  if (result.digest !== blob.digest) throw new Error(`${url} gave other bytes: ${result.digest}`);
  return result;
}

async function output(args: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    return (await run(process.execPath, args, { signal, killSignal: 'SIGKILL' })).stdout;
  } catch (error) {
    signal.throwIfAborted();
    // The message would begin with the whole command line.
    const said = (error as { stderr?: string }).stderr ?? '';
    throw new Error(`the load generator failed: ${/^\w*Error: .*$/m.exec(said)?.[0] ?? said}`);
  }
}
