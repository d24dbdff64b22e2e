import type { ServerResponse } from 'node:http';
import type { Chunk } from '../blob/source.ts';
import { chunkLength, isFileSlice } from '../blob/source.ts';
import type { BodyOutcome } from './body-ended.ts';
import { BodyEnded, clientGone, sourceFailed, stalled } from './body-ended.ts';
import { BufferPool } from './buffer-pool.ts';
import { onClientGone } from './client-gone.ts';
import { ClientStream } from './client-stream.ts';
import { resetConnection, resetSocket } from './reset.ts';
import type { Sendfile } from './sendfile.ts';
import { sendSlice } from './slice-sender.ts';

export interface BodyOptions {
  /** Bytes of the body: the Content-Length that `writeHead` announces. */
  readonly length: number;
  /**
   * Calls `response.writeHead`, unless the caller has done so. It is called once, when the first chunk is there (or the
   * end of an empty body), so that a source which fails before that can still be answered with a status.
   */
  readonly writeHead?: () => void;
  /** Ends the body for a reason of the caller's; that the client went away is noticed without it. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait for the first chunk, in milliseconds; else as for the others. */
  readonly firstChunkTimeoutMs?: number;
  /** Longest wait for any later chunk, and for the disk, in milliseconds. Default {@link STALL_TIMEOUT_MS}. */
  readonly stallTimeoutMs?: number;
  /** When all chunks must be here, on the clock of `performance.now()`. Time spent waiting for the client is added. */
  readonly deadlineMs?: number | undefined;
  /** In milliseconds: a client that takes no byte for once to twice as long is gone. Default {@link CLIENT_IDLE_TIMEOUT_MS}. */
  readonly clientIdleTimeoutMs?: number;
  /** Told of bytes when the kernel has taken them. */
  readonly onBytes?: (bytes: number) => void;
}

export interface BodyResult {
  readonly outcome: BodyOutcome;
  /** Body bytes given to the kernel. */
  readonly bytes: number;
  /** False when nothing was sent at all: after `source-failed` and `stalled` the caller still owes an answer. */
  readonly headSent: boolean;
  /** What went wrong: the source's own error as it was thrown, or a word of ours. Undefined when sent. */
  readonly error: unknown;
}

/** The contract: no body stalls for longer; nydusd gives up after 5 s, containerd never. */
const STALL_TIMEOUT_MS = 4_000;
/** As long as the longest keep-alive that clients use (BuildKit, clients.md 8.21). */
export const CLIENT_IDLE_TIMEOUT_MS = 120_000;

/** Reads from disk that go through memory; two are in use per body. */
const COPY_BYTES = 256 << 10;
const MAX_KEPT_BUFFERS = 32;

/** Sends bodies: one for the process, since it owns the buffers and the choice between sendfile and copying. */
export type BodyWriter = (
  response: ServerResponse,
  parts: AsyncIterable<Chunk>,
  options: BodyOptions,
) => Promise<BodyResult>;

/**
 * @param sendfile of {@link loadSendfile}; null copies file slices through memory.
 *
 * A body writer never rejects. It sends exactly the announced bytes or resets the connection: there is no clean short
 * end. The iterator is given back by `return()` as soon as the last byte or a reason to stop is there, also in the
 * middle of a `next()`; every file slice that it handed out is released, also one that comes too late.
 */
export function createBodyWriter(sendfile: Sendfile | null): BodyWriter {
  const buffers = new BufferPool({ bytes: COPY_BYTES, maxKept: MAX_KEPT_BUFFERS });
  return (response, parts, options) => new Body(response, options, sendfile, buffers).send(parts);
}

class Body {
  readonly #response: ServerResponse;
  readonly #options: BodyOptions;
  readonly #sendfile: Sendfile | null;
  readonly #buffers: BufferPool;
  readonly #stream: ClientStream;
  readonly #stallTimeoutMs: number;
  #remaining: number;

  constructor(
    response: ServerResponse,
    options: BodyOptions,
    sendfile: Sendfile | null,
    buffers: BufferPool,
  ) {
    this.#response = response;
    this.#options = options;
    this.#sendfile = sendfile;
    this.#buffers = buffers;
    this.#stallTimeoutMs = options.stallTimeoutMs ?? STALL_TIMEOUT_MS;
    this.#remaining = options.length;
    const idleMs = options.clientIdleTimeoutMs ?? CLIENT_IDLE_TIMEOUT_MS;
    this.#stream = new ClientStream(response, idleMs, options.onBytes);
  }

  async send(parts: AsyncIterable<Chunk>): Promise<BodyResult> {
    const unwatch = this.#watch();
    let error: unknown;
    let outcome: BodyOutcome = 'sent';
    try {
      await this.#sendAll(parts[Symbol.asyncIterator]());
    } catch (cause) {
      outcome = cause instanceof BodyEnded ? cause.outcome : 'source-failed';
      error = cause instanceof BodyEnded ? cause.reason : cause;
    } finally {
      unwatch();
    }
    const { headersSent } = this.#response;
    // A client that idles is still connected; of one that is gone nothing is left to reset.
    if (outcome !== 'sent' && (headersSent || outcome === 'client-gone')) resetConnection(this.#response);
    return { outcome, bytes: this.#stream.bytes, headSent: headersSent, error };
  }

  async #sendAll(iterator: AsyncIterator<Chunk>): Promise<void> {
    let exhausted = false;
    try {
      await this.#stream.turnCame();
      let timeoutMs = this.#options.firstChunkTimeoutMs ?? this.#stallTimeoutMs;
      do {
        const result = await this.#nextChunk(iterator, timeoutMs);
        timeoutMs = this.#stallTimeoutMs;
        if (result.done === true) {
          exhausted = true;
          if (this.#remaining > 0)
            throw sourceFailed('internal', 'A source ended before the last byte that it announced');
          break;
        }
        await this.#sendChunk(result.value);
      } while (this.#remaining > 0);
      if (!this.#response.writableEnded) {
        this.#sendHead();
        await this.#stream.finish();
      }
    } finally {
      if (!exhausted) giveBack(iterator);
    }
  }

  async #sendChunk(chunk: Chunk): Promise<void> {
    const length = chunkLength(chunk);
    if (length > this.#remaining) {
      if (isFileSlice(chunk)) chunk.release();
      throw sourceFailed('internal', 'A source gave more bytes than it announced');
    }
    if (length === 0) {
      if (isFileSlice(chunk)) chunk.release();
      return;
    }
    try {
      this.#sendHead();
    } catch (error) {
      if (isFileSlice(chunk)) chunk.release();
      throw error;
    }
    const last = length === this.#remaining;
    if (isFileSlice(chunk))
      await sendSlice(this.#stream, chunk, last, {
        sendfile: this.#sendfile,
        buffers: this.#buffers,
        readTimeoutMs: this.#stallTimeoutMs,
      });
    else await this.#stream.write(chunk, last);
    this.#remaining -= length;
  }

  #sendHead(): void {
    if (!this.#response.headersSent) this.#options.writeHead?.();
  }

  #nextChunk(iterator: AsyncIterator<Chunk>, timeoutMs: number): Promise<IteratorResult<Chunk>> {
    return this.#stream.waits.wait<IteratorResult<Chunk>>(
      (resolve, reject) => {
        iterator.next().then((result) => {
          const taken = resolve(result);
          if (!taken && result.done !== true && isFileSlice(result.value)) result.value.release();
        }, reject);
      },
      {
        ms: this.#sourceTimeMs(timeoutMs),
        reached: () => stalled('The bytes did not come in time'),
      },
    );
  }

  #sourceTimeMs(timeoutMs: number): number {
    const { deadlineMs } = this.#options;
    if (deadlineMs === undefined) return timeoutMs;
    const left = deadlineMs + this.#stream.waitedMs - performance.now();
    // Past the deadline, what is there at once is still good.
    return Math.max(0, Math.min(timeoutMs, left));
  }

  /** Ends the waits when the client goes away or the caller says so. */
  #watch(): () => void {
    const { waits } = this.#stream;
    const gone = () => waits.interrupt(clientGone('the client closed the connection'));
    const { signal } = this.#options;
    const stop = () => {
      if (this.#response.destroyed) gone();
      else waits.interrupt(new BodyEnded('source-failed', signal?.reason));
    };
    const { socket } = this.#response.req;
    const unwatch = onClientGone(this.#response, gone);
    // node:http answers a client's FIN by one of its own, in the middle of a body too. A reset must come before that.
    const half = () => {
      if (this.#response.writableEnded || this.#response.socket === null) return;
      gone();
      resetSocket(socket);
    };
    socket.prependListener('end', half);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener('abort', stop, { once: true });
    return () => {
      unwatch();
      socket.off('end', half);
      signal?.removeEventListener('abort', stop);
    };
  }
}

/** A `return()` waits behind a pending `next()` in a generator: nobody waits for it here, and its errors are late. */
function giveBack(iterator: AsyncIterator<Chunk>): void {
  try {
    void iterator.return?.()?.then(undefined, () => undefined);
  } catch {
    // A hand-made iterator that throws on return() has nothing more to give back.
  }
}
