import { Worker } from 'node:worker_threads';
import type {
  Footprint,
  HashJob,
  HashResult,
  IndexBatch,
  IndexContents,
  IndexFailure,
  IndexOptions,
  IndexReply,
  IndexRequest,
} from './index-protocol.ts';

/** The index as the main thread sees it: every call is answered by another thread and may take as long as the disk. */
export interface IndexPort {
  open(options: IndexOptions): Promise<IndexContents>;
  /** @returns allocated bytes of the index afterwards. */
  apply(batch: IndexBatch): Promise<number>;
  /** Fails with 'damaged' also when the index's file is no longer in its place. */
  measure(): Promise<Footprint>;
  /** Puts an empty index in the place of one that is damaged or gone. The segment files stay. */
  rebuild(): Promise<void>;
  /** null when the file cannot be read. */
  hash(job: HashJob): Promise<HashResult | null>;
  close(): Promise<void>;
}

export class IndexError extends Error {
  readonly failure: IndexFailure;
  constructor(failure: IndexFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** In a checkout the worker runs from its .ts by type stripping, in the package from the compiled .js beside us. */
export function workerUrl(moduleUrl: string): URL {
  return new URL(`./index-worker${moduleUrl.endsWith('.ts') ? '.ts' : '.js'}`, moduleUrl);
}

type Body<T extends IndexRequest['type']> = Omit<Extract<IndexRequest, { type: T }>, 'id' | 'type'>;
type Reply<T extends IndexReply['type']> = Extract<IndexReply, { type: T }>;

interface Waiting {
  resolve(reply: IndexReply): void;
  reject(error: Error): void;
}

/** The worker thread, one request at a time in order; it keeps the process alive only while something is asked of it. */
export class WorkerIndex implements IndexPort {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #dead: IndexError | null = null;

  constructor() {
    this.#worker = new Worker(workerUrl(import.meta.url), { name: 'damselfly-index', execArgv: [] });
    this.#worker.on('message', (reply: IndexReply) => this.#settle(reply));
    this.#worker.on('error', (error) => this.#fail(`the index thread failed: ${String(error)}`));
    this.#worker.on('exit', () => this.#fail('the index thread has ended'));
    this.#worker.unref();
  }

  async open(options: IndexOptions): Promise<IndexContents> {
    return (await this.#ask('open', { options }, 'opened')).contents;
  }

  async apply(batch: IndexBatch): Promise<number> {
    return (await this.#ask('apply', { batch }, 'applied')).indexBytes;
  }

  async measure(): Promise<Footprint> {
    return (await this.#ask('measure', {}, 'measured')).footprint;
  }

  async rebuild(): Promise<void> {
    await this.#ask('rebuild', {}, 'rebuilt');
  }

  async hash(job: HashJob): Promise<HashResult | null> {
    return (await this.#ask('hash', { job }, 'hashed')).result;
  }

  async close(): Promise<void> {
    if (this.#dead !== null) return;
    try {
      await this.#ask('close', {}, 'closed');
    } finally {
      await this.#worker.terminate();
    }
  }

  async #ask<T extends IndexRequest['type'], R extends IndexReply['type']>(
    type: T,
    body: Body<T>,
    expected: R,
  ): Promise<Reply<R>> {
    if (this.#dead !== null) throw this.#dead;
    const id = this.#nextId++;
    const reply = await new Promise<IndexReply>((resolve, reject) => {
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, type, ...body });
    });
    if (reply.type === 'failed') throw new IndexError(reply.failure, reply.message);
    if (reply.type !== expected) throw new IndexError('disk-error', `unexpected answer ${reply.type}`);
    return reply as Reply<R>;
  }

  #settle(reply: IndexReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    waiting?.resolve(reply);
  }

  #fail(message: string): void {
    this.#dead ??= new IndexError('disk-error', message);
    for (const waiting of this.#waiting.values()) waiting.reject(this.#dead);
    this.#waiting.clear();
  }
}
