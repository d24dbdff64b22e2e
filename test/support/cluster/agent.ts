import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { GroupProcess } from '../group-process.ts';
import type { Place } from './place.ts';
import type { AgentCommand, FetchResult, ReadJob, ReadOutcome } from './read-job.ts';

const MAIN = fileURLToPath(new URL('agent-main.ts', import.meta.url));
/** On top of what a command itself may take, on a machine that is busy with a flash crowd. */
const SLACK_MS = 10_000;

/** A client process beside a node: in a network namespace nobody else reaches the node. */
export class Agent {
  readonly #process: GroupProcess;
  readonly #stdin: Writable;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  private constructor(group: GroupProcess, stdin: Writable, stdout: Readable) {
    this.#process = group;
    this.#stdin = stdin;
    stdin.on('error', () => undefined);
    createInterface({ input: stdout }).on('line', (line) => this.#receive(line));
    group.child.once('exit', (code, signal) => {
      const gone = new Error(`the client process ended (${signal ?? code})`);
      for (const { reject } of this.#waiting.values()) reject(gone);
      this.#waiting.clear();
    });
  }

  static async start(place: Place): Promise<Agent> {
    const group = new GroupProcess([...place.enter, process.execPath, MAIN], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const { stdin, stdout } = group.child;
    if (stdin === null || stdout === null) throw new Error('the client process has no pipes');
    const agent = new Agent(group, stdin, stdout);
    try {
      await agent.progress();
      return agent;
    } catch (error) {
      await group.kill();
      throw error;
    }
  }

  get pid(): number {
    return this.#process.pid;
  }

  fetch(url: string, timeoutMs = 5_000): Promise<FetchResult> {
    return this.#ask({ do: 'fetch', url, timeoutMs }, timeoutMs) as Promise<FetchResult>;
  }

  read(job: ReadJob): Promise<ReadOutcome> {
    const waitMs = Math.max(0, job.startAtMs - Date.now());
    return this.#ask({ do: 'read', job }, waitMs + job.timeoutMs) as Promise<ReadOutcome>;
  }

  /** Body bytes of all reads so far. */
  progress(): Promise<number> {
    return this.#ask({ do: 'progress' }, 0) as Promise<number>;
  }

  /** Ends every read under way. */
  async abandon(): Promise<void> {
    await this.#ask({ do: 'abandon' }, 0);
  }

  async close(): Promise<void> {
    this.#stdin.end();
    if (this.#process.isAlive)
      await once(this.#process.child, 'exit', { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await this.#process.kill();
  }

  async #ask(command: AgentCommand, limitMs: number): Promise<unknown> {
    if (!this.#process.isAlive) throw new Error('the client process has ended');
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    const late = setTimeout(
      () => waiting.reject(new Error(`no answer to "${command.do}" within ${limitMs + SLACK_MS} ms`)),
      limitMs + SLACK_MS,
    );
    this.#waiting.set(id, waiting);
    this.#stdin.write(`${JSON.stringify({ ...command, id })}\n`);
    try {
      return await waiting.promise;
    } finally {
      clearTimeout(late);
      this.#waiting.delete(id);
    }
  }

  #receive(line: string): void {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const waiting = this.#waiting.get(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }
}
