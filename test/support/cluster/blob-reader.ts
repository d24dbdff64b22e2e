import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Span } from '../../../src/blob/span.ts';
import { Connection } from '../../bench/client/connection.ts';
import { seededBytes } from '../origin/content.ts';
import type { ReadJob, ReadOutcome } from './read-job.ts';

/** As image clients do, which ask their mirror again as long as nothing else is there. */
const RETRY_PAUSE_MS = 100;

/** Carries out read jobs as an image client would: a failed request is sent again until the job's time is over. */
export class BlobReader {
  #bytes = 0;
  readonly #jobs = new Set<AbortController>();

  /** Body bytes of all jobs so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Ends every job under way. */
  abandon(): void {
    for (const job of this.#jobs) job.abort(new Error('abandoned'));
  }

  async read(job: ReadJob): Promise<ReadOutcome> {
    const ended = new AbortController();
    this.#jobs.add(ended);
    const beginsInMs = Math.max(0, job.startAtMs - nowMs());
    const late = setTimeout(
      () => ended.abort(new Error(`not done within ${job.timeoutMs / 1000} s`)),
      beginsInMs + job.timeoutMs,
    );
    const count = (bytes: number): void => {
      this.#bytes += bytes;
    };
    try {
      await sleep(beginsInMs, undefined, { signal: ended.signal }).catch(() => undefined);
      const startedAtMs = nowMs();
      const lanes = job.lanes.map((reads) => new Lane(job, reads, ended.signal, count));
      const done = await Promise.allSettled(lanes.map((lane) => lane.run()));
      const failed = done.find((one) => one.status === 'rejected');
      return {
        ...{ startedAtMs, endedAtMs: nowMs() },
        bytes: sum(lanes.map((lane) => lane.bytes)),
        wrongBytes: sum(lanes.map((lane) => lane.wrongBytes)),
        wholes: lanes.flatMap((lane) => lane.wholes),
        firstByteMs: lanes.flatMap((lane) => lane.firstByteMs),
        retries: sum(lanes.map((lane) => lane.retries)),
        failure: failed === undefined ? null : String((failed.reason as Error).message),
      };
    } finally {
      clearTimeout(late);
      this.#jobs.delete(ended);
    }
  }
}

/** Reads that follow each other on one connection. */
class Lane {
  bytes = 0;
  wrongBytes = 0;
  retries = 0;
  readonly wholes: { bytes: number; digest: string }[] = [];
  readonly firstByteMs: number[] = [];
  readonly #job: ReadJob;
  readonly #reads: readonly (Span | null)[];
  readonly #signal: AbortSignal;
  readonly #count: (bytes: number) => void;
  readonly #url: URL;
  #connection: Connection | undefined;
  /** When the read began for whose first byte this waits. */
  #begunMs = 0;
  #isWaiting = false;
  #onBody: (chunk: Buffer) => void = () => undefined;

  constructor(
    job: ReadJob,
    reads: readonly (Span | null)[],
    signal: AbortSignal,
    count: (bytes: number) => void,
  ) {
    this.#job = job;
    this.#reads = reads;
    this.#signal = signal;
    this.#count = count;
    this.#url = new URL(job.url);
  }

  async run(): Promise<void> {
    const hangUp = (): void => this.#connection?.close();
    this.#signal.addEventListener('abort', hangUp, { once: true });
    try {
      for (const span of this.#reads) {
        if (span === null) await this.#readWhole();
        else await this.#readSpan(span);
      }
    } finally {
      this.#signal.removeEventListener('abort', hangUp);
      hangUp();
    }
  }

  async #readWhole(): Promise<void> {
    const { size } = this.#job.blob;
    const hash = createHash('sha256');
    let at = 0;
    try {
      await this.#untilDone(async () => {
        // What is left of it, as containerd resumes.
        const range = at === 0 ? undefined : ([at, size] as const);
        await this.#get(range, size - at, (chunk) => {
          hash.update(chunk);
          at += chunk.length;
        });
      });
    } finally {
      this.wholes.push({ bytes: at, digest: `sha256:${hash.digest('hex')}` });
    }
  }

  async #readSpan(span: Span): Promise<void> {
    const { seed } = this.#job.blob;
    await this.#untilDone(async () => {
      let at = span.start;
      await this.#get([span.start, span.end], span.end - span.start, (chunk) => {
        const right = seededBytes(seed, { start: at, end: at + chunk.length });
        if (!chunk.equals(right)) this.wrongBytes += differing(chunk, right);
        at += chunk.length;
      });
    });
  }

  async #untilDone(request: () => Promise<void>): Promise<void> {
    this.#begunMs = performance.now();
    this.#isWaiting = true;
    for (;;) {
      this.#signal.throwIfAborted();
      try {
        await request();
        return;
      } catch {
        this.#signal.throwIfAborted();
        this.retries += 1;
        // A connection that failed is not used again.
        this.#connection?.close();
        this.#connection = undefined;
        await sleep(RETRY_PAUSE_MS, undefined, { signal: this.#signal }).catch(() => undefined);
      }
    }
  }

  async #get(
    range: readonly [number, number] | undefined,
    bytes: number,
    onBody: (chunk: Buffer) => void,
  ): Promise<void> {
    this.#onBody = (chunk) => {
      if (this.#isWaiting) this.firstByteMs.push(performance.now() - this.#begunMs);
      this.#isWaiting = false;
      this.bytes += chunk.length;
      this.#count(chunk.length);
      onBody(chunk);
    };
    this.#connection ??= new Connection((chunk) => this.#onBody(chunk));
    await this.#connection.get({ url: this.#url, bytes, ...(range && { range }) });
  }
}

function differing(left: Uint8Array, right: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < left.length; i += 1) if (left[i] !== right[i]) count += 1;
  return count;
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
