import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { DamselflyError } from '../errors.ts';
import { headerValue, type RawHeaders } from './headers.ts';

/** No body may stall longer than this on its way to a client (containerd waits for ever on one that does). */
const MAX_STALL_MS = 4_000;

function stalled(stallMs: number): DamselflyError {
  return new DamselflyError('origin-timeout', `The origin sent no byte of a body for ${stallMs} ms`, {
    facts: { stallMs },
  });
}

/**
 * A reply's body, pulled chunk by chunk. The origin's socket is paused when `highWaterBytes` wait here unread, so that
 * backpressure goes from the reader to the origin.
 */
export class ReplyBody {
  readonly #highWaterBytes: number;
  readonly #onReceived: (bytes: number) => void;
  readonly #onClose: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #queue: Uint8Array[] = [];
  #head = 0;
  #queuedBytes = 0;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #error: unknown;
  #wake: (() => void) | undefined;

  /** @param onClose called once: the last byte is in, the body failed, or it was destroyed. */
  constructor(highWaterBytes: number, onReceived: (bytes: number) => void, onClose: () => void) {
    this.#highWaterBytes = highWaterBytes;
    this.#onReceived = onReceived;
    this.#onClose = onClose;
  }

  attach(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
  }

  push(chunk: Uint8Array): void {
    if (this.#state !== 'open') return;
    this.#onReceived(chunk.length);
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes >= this.#highWaterBytes) this.#controller?.pause();
    this.#notify();
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#controller = undefined;
    this.#onClose();
    this.#notify();
  }

  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#error = error;
    this.#controller = undefined;
    this.#onClose();
    this.#notify();
  }

  /** @returns the next chunk, null after the last one, undefined when none is here yet. Throws what the body failed with, after the bytes before it. */
  read(): Uint8Array | null | undefined {
    const chunk = this.readUpTo(Number.POSITIVE_INFINITY);
    if (chunk !== undefined) return chunk;
    if (this.#state === 'ended') return null;
    if (this.#state === 'failed') throw this.#error;
    return undefined;
  }

  /** The next chunk if one is here and no longer than that. Never throws. */
  readUpTo(maxBytes: number): Uint8Array | undefined {
    const chunk = this.#queue[this.#head];
    if (chunk === undefined || chunk.length > maxBytes) return undefined;
    this.#head++;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    this.#queuedBytes -= chunk.length;
    if (this.#controller?.paused && this.#queuedBytes < this.#highWaterBytes / 2) this.#controller.resume();
    return chunk;
  }

  /**
   * Settles when `read` has something to say; one waiter at a time. After `stallMs` without a byte the body fails with
   * `origin-timeout` and its connection is dropped.
   */
  wait(stallMs: number): Promise<void> {
    if (this.#head < this.#queue.length || this.#state !== 'open') return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.destroy(stalled(stallMs)), stallMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Drops the connection and what is queued; a body that has ended keeps its connection. */
  destroy(reason: Error): void {
    this.#queue = [];
    this.#head = 0;
    this.#queuedBytes = 0;
    if (this.#state !== 'open') return;
    const controller = this.#controller;
    this.fail(reason);
    controller?.abort(reason);
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/** The head of an origin's answer, with its body still to be read or destroyed. */
export class Reply {
  readonly status: number;
  readonly rawHeaders: RawHeaders;
  readonly body: ReplyBody;

  constructor(status: number, rawHeaders: RawHeaders, body: ReplyBody) {
    this.status = status;
    this.rawHeaders = rawHeaders;
    this.body = body;
  }

  /** The first line of that name, in lower case. */
  header(name: string): string | undefined {
    return headerValue(this.rawHeaders, name);
  }
}

/** A body that has ended, for an answer that says there are no bytes. */
export function emptyBody(): ReplyBody {
  const nothing = (): void => undefined;
  const body = new ReplyBody(1, nothing, nothing);
  body.end();
  return body;
}

/** One for all: one for each reply would cost a stack trace each. */
const ABANDONED = new DOMException('the reply is not needed any more', 'AbortError');

/** Why a reply was given up by ourselves; never shown to anybody. */
export function abandoned(): Error {
  return ABANDONED;
}

/**
 * Reads a small body whole.
 * @returns null when it is longer than `maxBytes`; the connection is dropped then.
 */
export async function readBody(body: ReplyBody, maxBytes: number): Promise<Buffer | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const chunk = body.read();
    if (chunk === null) return Buffer.concat(chunks);
    if (chunk === undefined) {
      await body.wait(MAX_STALL_MS);
      continue;
    }
    bytes += chunk.length;
    if (bytes > maxBytes) {
      body.destroy(abandoned());
      return null;
    }
    chunks.push(chunk);
  }
}

/** The first `maxBytes` of a body, for refusals: what follows is dropped, and so is a body that breaks off. */
export async function readBodyStart(body: ReplyBody, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    while (bytes < maxBytes) {
      const chunk = body.read();
      if (chunk === null) break;
      if (chunk === undefined) {
        await body.wait(MAX_STALL_MS);
        continue;
      }
      bytes += chunk.length;
      chunks.push(chunk);
    }
  } catch {
    // The status is what counts; a broken error document is an empty or shorter one.
  } finally {
    body.destroy(abandoned());
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}

/** What of an unwanted body is read to keep its connection; dropping that costs a TCP and a TLS handshake. */
const DISCARD_BYTES = 16 << 10;
/** And for how long: a body that drips would hold its connection for hours. */
const DISCARD_MS = 2_000;

/** Gets rid of a body that is likely short (a redirect's page, an error document), keeping its connection if it is. */
export function discard(body: ReplyBody): void {
  const timer = setTimeout(() => body.destroy(abandoned()), DISCARD_MS);
  void readBodyStart(body, DISCARD_BYTES).finally(() => clearTimeout(timer));
}

/** The body as a Node stream; destroying the stream drops the connection. */
export function streamOf(body: ReplyBody): Readable {
  let pumping = false;
  const pump = async (stream: Readable): Promise<void> => {
    if (pumping) return;
    pumping = true;
    try {
      for (;;) {
        const chunk = body.read();
        if (chunk === undefined) {
          await body.wait(MAX_STALL_MS);
          continue;
        }
        if (!stream.push(chunk) || chunk === null) return;
      }
    } catch (error) {
      stream.destroy(error instanceof Error ? error : new Error('the body failed'));
    } finally {
      pumping = false;
    }
  };
  return new Readable({
    highWaterMark: 64 * 1024,
    read() {
      void pump(this);
    },
    destroy(error, callback) {
      body.destroy(error ?? abandoned());
      callback(error);
    },
  });
}
