import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { groupEnded, signalGroup } from '../runner/process-group.ts';

const STOP_GRACE_MS = 10_000;
const KILL_GRACE_MS = 5_000;
/** Ends what it runs when the process that started it ends, however that ends. */
const WITH_PARENT = ['/usr/bin/setpriv', '--pdeathsig', 'KILL', '--'];

const running = new Set<GroupProcess>();
process.on('exit', () => {
  for (const one of running) one.signal('SIGKILL');
});

/** A program in a process group of its own: a signal reaches whatever it started, and its end is the end of all. */
export class GroupProcess {
  readonly child: ChildProcess;
  #failure: Error | undefined;

  /** @param argv the program and its arguments. */
  constructor(
    argv: readonly string[],
    options: { readonly stdio: StdioOptions; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string },
  ) {
    const [command = '', ...args] = canEndWithParent() ? [...WITH_PARENT, ...argv] : argv;
    this.child = spawn(command, args, { ...options, detached: true });
    running.add(this);
    this.child.once('exit', () => running.delete(this));
    this.child.once('error', (error) => {
      this.#failure = error;
      running.delete(this);
    });
  }

  get pid(): number {
    const { pid } = this.child;
    if (pid === undefined) throw new Error('the program did not start', { cause: this.#failure });
    return pid;
  }

  get isAlive(): boolean {
    const { exitCode, pid, signalCode } = this.child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /** To every process of the group. */
  signal(name: NodeJS.Signals): void {
    if (this.child.pid !== undefined) signalGroup(this.child.pid, name);
  }

  /** SIGTERM, and after the grace time SIGKILL; resolves when nothing of the group is left. */
  async stop(graceMs = STOP_GRACE_MS): Promise<void> {
    await this.#end('SIGTERM', graceMs);
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL', KILL_GRACE_MS);
  }

  async #end(name: NodeJS.Signals, graceMs: number): Promise<void> {
    const { pid } = this.child;
    if (pid === undefined) return;
    if (this.isAlive) {
      const ended = once(this.child, 'exit');
      const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
      try {
        this.signal(name);
        // A stopped process takes no SIGTERM before it goes on.
        if (name === 'SIGTERM') this.signal('SIGCONT');
        await ended;
      } finally {
        clearTimeout(timer);
      }
    }
    this.signal('SIGKILL');
    const left = await groupEnded(pid, KILL_GRACE_MS);
    if (left.length > 0) throw new Error(`processes do not end: ${left.join(', ')}`);
  }
}

function canEndWithParent(): boolean {
  try {
    accessSync(WITH_PARENT[0] ?? '', constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
