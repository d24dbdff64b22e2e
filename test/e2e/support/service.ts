import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { eventually } from '../../support/eventually.ts';
import type { Scope } from './scope.ts';

export interface ServiceOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Standard output and error go here, after what is in it already. */
  readonly logFile: string;
  /** Asked again and again until it says yes. */
  readonly ready: () => boolean | Promise<boolean>;
  readonly readyTimeoutMs?: number;
}

const running = new Set<ChildProcess>();
// Nothing outlives the test process, however that ends.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A real program that a test runs beside itself. */
export class Service {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #logFile: string;

  constructor(name: string, child: ChildProcess, logFile: string) {
    this.name = name;
    this.#child = child;
    this.#logFile = logFile;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.name} did not start`);
    return pid;
  }

  get alive(): boolean {
    const { exitCode, pid, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  async log(): Promise<string> {
    return await readFile(this.#logFile, 'utf8');
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL', 5_000);
  }

  /** Asks it to end; one that does not is killed. */
  async stop(graceMs = 8_000): Promise<void> {
    await this.#end('SIGTERM', graceMs);
  }

  async #end(signal: NodeJS.Signals, graceMs: number): Promise<void> {
    if (!this.alive) return;
    const ended = once(this.#child, 'exit');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    this.#child.kill(signal);
    await ended;
    clearTimeout(timer);
  }
}

/** Starts a program and waits until it is ready. It ends with the scope. */
export async function startService(scope: Scope, options: ServiceOptions): Promise<Service> {
  const log = openSync(options.logFile, 'a');
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const service = new Service(options.name, child, options.logFile);
  running.add(child);
  child.once('exit', () => running.delete(child));
  let failure = 'it ended at once';
  child.once('error', (error) => {
    failure = error.message;
    running.delete(child);
  });
  scope.defer(() => service.stop());
  try {
    await eventually(() => !service.alive || options.ready(), {
      timeoutMs: options.readyTimeoutMs ?? 15_000,
      everyMs: 20,
      what: `${options.name} is ready`,
    });
    if (!service.alive) throw new Error(`${options.name} did not start: ${failure}`);
  } catch (error) {
    await service.kill();
    const tail = (await service.log()).split('\n').slice(-30).join('\n');
    throw new Error(`${error instanceof Error ? error.message : error}; it printed:\n${tail}`);
  }
  return service;
}
