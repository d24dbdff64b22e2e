import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { RecordFilter, RequestRecord } from './origin/log.ts';
import type { RedirectOptions } from './origin/redirects.ts';
import type { OriginAnnouncement, OriginSetup, RemoteCommand, RemoteFault } from './origin/remote.ts';

const MAIN = fileURLToPath(new URL('origin-main.ts', import.meta.url));
const COMMAND_TIMEOUT_MS = 10_000;

type Child = ChildProcessByStdio<Writable, Readable, null>;

/**
 * A test origin in a process of its own, so that it does not share its CPU time and event loop with what is measured.
 * It ends with `close()` or with this process, whatever comes first.
 */
export class OriginProcess implements OriginAnnouncement {
  readonly url: string;
  readonly host: string;
  readonly cdnUrl: string;
  readonly tokenUrl: string;
  readonly pid: number;
  readonly repositories: OriginAnnouncement['repositories'];
  readonly #child: Child;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  private constructor(child: Child, lines: Interface, announced: OriginAnnouncement) {
    this.#child = child;
    this.url = announced.url;
    this.host = announced.host;
    this.cdnUrl = announced.cdnUrl;
    this.tokenUrl = announced.tokenUrl;
    this.pid = announced.pid;
    this.repositories = announced.repositories;
    lines.on('line', (line) => {
      const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
    child.once('exit', (code, signal) => {
      const gone = new Error(`the origin process ended (${signal ?? code})`);
      for (const { reject } of this.#waiting.values()) reject(gone);
      this.#waiting.clear();
    });
  }

  /**
   * @param timeoutMs to the announcement; seeded blobs are hashed before it, at more than 1 GB/s.
   * @param enter in front of its command line, such as what runs it in a network namespace.
   */
  static async start(
    setup: OriginSetup,
    timeoutMs: number,
    enter: readonly string[] = [],
  ): Promise<OriginProcess> {
    const own = [process.execPath, MAIN, '--with-parent', '--json', JSON.stringify(setup)];
    const [command = '', ...args] = [...enter, ...own];
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => undefined);
    const lines = createInterface({ input: child.stdout });
    const late = AbortSignal.timeout(timeoutMs);
    try {
      const first = await Promise.race([
        once(lines, 'line', { signal: late }) as Promise<[string]>,
        once(child, 'exit', { signal: late }).then(([code, signal]) => {
          throw new Error(`the origin process ended before it listened (${signal ?? code})`);
        }),
      ]);
      return new OriginProcess(child, lines, JSON.parse(first[0]) as OriginAnnouncement);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  bytesSent(filter?: RecordFilter): Promise<number> {
    return this.#ask({ do: 'bytes-sent', ...(filter && { filter }) }) as Promise<number>;
  }

  requests(filter?: RecordFilter): Promise<RequestRecord[]> {
    return this.#ask({ do: 'requests', ...(filter && { filter }) }) as Promise<RequestRecord[]>;
  }

  /** CPU time of the process so far, user and system. */
  cpuMs(): Promise<number> {
    return this.#ask({ do: 'cpu' }) as Promise<number>;
  }

  async reset(): Promise<void> {
    await this.#ask({ do: 'reset' });
  }

  /** Resolves once no request is being answered. */
  async idle(): Promise<void> {
    await this.#ask({ do: 'idle' });
  }

  async fault(rule: RemoteFault): Promise<void> {
    await this.#ask({ do: 'fault', rule });
  }

  /** Later requests meet no fault, and what was stalled goes on. */
  async clearFaults(): Promise<void> {
    await this.#ask({ do: 'clear-faults' });
  }

  async setBytesPerSecond(bytesPerSecond: number | undefined): Promise<void> {
    await this.#ask({ do: 'bandwidth', bytesPerSecond: bytesPerSecond ?? null });
  }

  async setRedirect(options: RedirectOptions | undefined): Promise<void> {
    await this.#ask({ do: 'redirect', options: options ?? null });
  }

  async expireTokens(): Promise<void> {
    await this.#ask({ do: 'expire-tokens' });
  }

  async down(): Promise<void> {
    await this.#ask({ do: 'down' });
  }

  async up(): Promise<void> {
    await this.#ask({ do: 'up' });
  }

  async cutConnections(): Promise<void> {
    await this.#ask({ do: 'cut' });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.stdin.end();
    const late = setTimeout(() => this.#child.kill('SIGKILL'), 3_000);
    await exit;
    clearTimeout(late);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #ask(command: RemoteCommand): Promise<unknown> {
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    const late = setTimeout(
      () => waiting.reject(new Error(`no answer to "${command.do}" within ${COMMAND_TIMEOUT_MS} ms`)),
      COMMAND_TIMEOUT_MS,
    );
    this.#waiting.set(id, waiting);
    if (this.#child.exitCode !== null) waiting.reject(new Error('the origin process has ended'));
    this.#child.stdin.write(`${JSON.stringify({ ...command, id })}\n`);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(late);
      this.#waiting.delete(id);
    }
  }
}

export function startOriginProcess(
  setup: OriginSetup = {},
  options: { readonly timeoutMs?: number } = {},
): Promise<OriginProcess> {
  return OriginProcess.start(setup, options.timeoutMs ?? 30_000);
}
