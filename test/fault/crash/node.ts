import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const START_TIMEOUT_MS = 30_000;

export interface CrashNodeOptions {
  /** `cache.dir`. */
  readonly dir: string;
  readonly maxBytes: number;
  /** `http://host:port`; read over plain http. */
  readonly originUrl: string;
  /** Descriptor for what it logs. */
  readonly log: number | 'ignore';
  /** What is run; default: the sources. */
  readonly main?: string | undefined;
}

/** A node process, to be killed. */
export class CrashNode {
  readonly #child: ChildProcess;
  readonly #ready: Promise<string>;

  constructor(options: CrashNodeOptions) {
    const host = new URL(options.originUrl).host;
    const set = [
      `cache.dir=${options.dir}`,
      `cache.maxBytes=${options.maxBytes}`,
      'cache.minFree=0',
      // Nothing may hide what the disk has.
      'cache.memoryBytes=0',
      'proxy.listen=127.0.0.1:0',
      'admin.listen=127.0.0.1:0',
      'metrics.listen=127.0.0.1:0',
      `proxy.defaultOrigin=${options.originUrl}`,
      `origins=${JSON.stringify([{ host, insecure: true }])}`,
      'log.level=warn',
    ];
    this.#child = spawn(
      process.execPath,
      [options.main ?? MAIN, 'serve', ...set.flatMap((line) => ['--set', line])],
      {
        stdio: ['ignore', 'pipe', options.log],
        env: Object.fromEntries(
          Object.entries(process.env).filter(([name]) => !name.startsWith('DAMSELFLY_')),
        ),
      },
    );
    this.#ready = this.#announced();
    // Whoever kills it while it starts does not wait for it.
    this.#ready.catch(() => undefined);
  }

  /** `http://host:port`, once it serves. @throws when it ends before that, or takes longer than 30 s. */
  ready(): Promise<string> {
    return this.#ready;
  }

  terminate(): void {
    this.#child.kill('SIGTERM');
  }

  /** kill -9; resolves once it is gone, also when it was before. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  async #announced(): Promise<string> {
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('no stdout');
    const late = AbortSignal.timeout(START_TIMEOUT_MS);
    const found = Promise.withResolvers<string>();
    createInterface({ input: stdout }).on('line', (line) => {
      const host = /^\s+proxy\s+(\S+:\d+)/.exec(line)?.[1];
      if (host !== undefined) found.resolve(`http://${host}`);
    });
    const ended = once(this.#child, 'exit', { signal: late }).then(([code, signal]) => {
      throw new Error(`the node ended before it served (${signal ?? code})`);
    });
    ended.catch(() => undefined);
    return await Promise.race([found.promise, ended]);
  }
}
