import { spawn } from 'node:child_process';
import { groupEnded, signalGroup } from './process-group.ts';

const OUTPUT_BYTES = 64 * 1024;
/** How long after SIGTERM a group gets for its own clean-up (unmounts, folders). */
const TERM_GRACE_MS = 8_000;
const LEFTOVER_GRACE_MS = 3_000;

export interface ProcessOutcome {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why we ended it ourselves; undefined when it ended by itself. */
  readonly killed: string | undefined;
  /** Processes that it left behind; they are killed. */
  readonly leftovers: readonly string[];
  readonly output: string;
  readonly ms: number;
}

export interface ProcessOptions {
  readonly cwd: string;
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the process early; its reason is a string that says why. */
  readonly signal: AbortSignal;
}

/**
 * Runs one program in a process group of its own, so that whatever it starts ends with it. It has no standard input.
 */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions,
): Promise<ProcessOutcome> {
  const started = performance.now();
  const tail = new OutputTail();
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const group = child.pid;
  child.stdout.on('data', (bytes: Buffer) => tail.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => tail.push(bytes));

  let killed: string | undefined;
  let killTimer: NodeJS.Timeout | undefined;
  const end = (why: string): void => {
    if (killed !== undefined || group === undefined) return;
    killed = why;
    signalGroup(group, 'SIGTERM');
    killTimer = setTimeout(() => signalGroup(group, 'SIGKILL'), TERM_GRACE_MS);
  };
  const onAbort = (): void => end(String(options.signal.reason));
  const timeout = setTimeout(
    () => end(`did not end within ${Math.round(options.timeoutMs / 1000)} s`),
    options.timeoutMs,
  );
  options.signal.addEventListener('abort', onAbort, { once: true });
  if (options.signal.aborted) onAbort();
  try {
    // 'exit', not 'close': a left-over grandchild would hold the pipes open for ever.
    const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
      (resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, by) => resolve([code, by]));
      },
    );
    const leftovers = group === undefined ? [] : await groupEnded(group, LEFTOVER_GRACE_MS);
    return { exitCode, signal, killed, leftovers, output: tail.text(), ms: performance.now() - started };
  } catch (error) {
    return {
      exitCode: null,
      signal: null,
      killed: `could not start ${command}: ${error instanceof Error ? error.message : String(error)}`,
      leftovers: [],
      output: tail.text(),
      ms: performance.now() - started,
    };
  } finally {
    clearTimeout(timeout);
    clearTimeout(killTimer);
    options.signal.removeEventListener('abort', onAbort);
    if (group !== undefined) signalGroup(group, 'SIGKILL');
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

class OutputTail {
  #chunks: Buffer[] = [];
  #bytes = 0;

  push(bytes: Buffer): void {
    this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes <= 2 * OUTPUT_BYTES) return;
    const kept = Buffer.concat(this.#chunks).subarray(-OUTPUT_BYTES);
    this.#chunks = [kept];
    this.#bytes = kept.length;
  }

  text(): string {
    return Buffer.concat(this.#chunks).subarray(-OUTPUT_BYTES).toString();
  }
}
