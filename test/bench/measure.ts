import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { type Agent, get } from 'node:http';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Kernel ticks per second, as /proc counts CPU time. */
const TICKS = 100;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

export function show(values: readonly number[], digits = 3): string {
  return `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
}

/** Seconds that curl takes for a whole body, thrown away. */
export async function curlSeconds(url: string): Promise<number> {
  const { stdout } = await run('curl', ['-sSf', '-o', '/dev/null', '-w', '%{time_total}', url]);
  return Number(stdout);
}

/** One range; resolves when its last byte is here. @returns milliseconds to the first body byte. */
export function fetchRange(url: string, start: number, length: number, agent: Agent): Promise<number> {
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const request = get(
      url,
      { agent, headers: { range: `bytes=${start}-${start + length - 1}` } },
      (response) => {
        let firstMs: number | undefined;
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          firstMs ??= performance.now() - begun;
          bytes += chunk.length;
        });
        response.on('end', () => {
          if (response.statusCode !== 206 || bytes !== length)
            reject(new Error(`${response.statusCode}, ${bytes} bytes`));
          else resolve(firstMs ?? 0);
        });
        response.on('error', reject);
      },
    );
    request.on('error', reject);
  });
}

/** CPU seconds of a process and its children so far. */
export function cpuSeconds(pid: number): number {
  let ticks = 0;
  for (const one of [pid, ...childrenOf(pid)]) {
    const stat = readFileSync(`/proc/${one}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** The most memory that a process has had resident, in MiB. */
export function peakMiB(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => {
      try {
        const stat = readFileSync(`/proc/${one}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
      } catch {
        return false;
      }
    });
}
