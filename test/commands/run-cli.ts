import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** Commands here take a second or so; whatever hangs is ended. */
const LIMIT_MS = 60_000;

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** `stdout` as the one JSON document that it is to be. */
  json(): Record<string, unknown>;
}

export interface Running {
  readonly pid: number;
  readonly result: Promise<CliResult>;
  kill(signal: NodeJS.Signals): void;
  /** What came so far. */
  stdout(): string;
  /** Resolves when stdout or stderr has shown it. */
  shows(pattern: RegExp): Promise<void>;
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArgs?: readonly string[];
}

/** Starts `damselfly …` as a process of its own, with nothing of this machine's configuration, logins or proxies. */
export function startCli(args: readonly string[], options: CliOptions = {}): Running {
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), MAIN, ...args], {
    env: { PATH: process.env.PATH ?? '', DOCKER_CONFIG: '/nonexistent', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  const grown = (): void => {
    for (const watcher of watchers) watcher();
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    grown();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    grown();
  });
  const result = new Promise<CliResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, stdout, stderr, json: () => JSON.parse(stdout) as Record<string, unknown> });
    });
  });
  return {
    pid: child.pid ?? 0,
    result,
    kill: (signal) => child.kill(signal),
    stdout: () => stdout,
    shows: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!pattern.test(stdout) && !pattern.test(stderr)) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        void result.then(() => reject(new Error(`ended without showing ${pattern}:\n${stdout}${stderr}`)));
        look();
      }),
  };
}

export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).result;
}
