import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault, FaultAction } from './faults.ts';
import type { RequestRecord } from './log.ts';
import { Throttle } from './throttle.ts';

export type Headers = Readonly<Record<string, string | undefined>>;

/** The connection was ended on purpose; nothing more is to be sent on it. */
export class Ended extends Error {}

/** One request and its answer, with whatever fault was laid on it. All waiting ends when the connection does. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly record: RequestRecord;
  readonly query: URLSearchParams;
  readonly fault: Fault | undefined;
  readonly action: FaultAction;
  readonly signal: AbortSignal;
  readonly #response: ServerResponse;
  readonly #line: Throttle;
  readonly #nowMs: () => number;

  constructor(parts: {
    request: IncomingMessage;
    response: ServerResponse;
    record: RequestRecord;
    fault: Fault | undefined;
    line: Throttle;
    nowMs: () => number;
  }) {
    this.request = parts.request;
    this.record = parts.record;
    this.fault = parts.fault;
    this.action = parts.fault?.action ?? {};
    this.#response = parts.response;
    this.#line = parts.line;
    this.#nowMs = parts.nowMs;
    const question = parts.record.url.indexOf('?');
    this.query = new URLSearchParams(question < 0 ? '' : parts.record.url.slice(question + 1));
    const closed = new AbortController();
    this.signal = closed.signal;
    parts.response.once('close', () => {
      this.record.endedAtMs = this.#nowMs();
      if (!parts.response.writableFinished) this.record.aborted = true;
      closed.abort(new Ended('the connection ended'));
    });
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  async body(maxBytes: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of this.request) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new Error(`a request body of more than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** What a fault does before the head. */
  async beforeHead(): Promise<void> {
    const { dropConnection, neverAnswer, delayHeadMs } = this.action;
    if (dropConnection) this.#reset();
    if (neverAnswer) await this.#untilReleased();
    if (delayHeadMs !== undefined) await sleep(delayHeadMs, undefined, { signal: this.signal });
  }

  json(status: number, value: unknown, headers: Headers = {}): Promise<void> {
    return this.whole(status, { 'Content-Type': 'application/json', ...headers }, JSON.stringify(value));
  }

  /** The error document of the distribution specification ("Error codes"). */
  error(status: number, code: string, message: string, headers: Headers = {}): Promise<void> {
    return this.json(status, { errors: [{ code, message, detail: null }] }, headers);
  }

  whole(status: number, headers: Headers, body: string | Uint8Array): Promise<void> {
    const bytes = Buffer.from(body);
    return this.answer(status, headers, bytes.length, [bytes]);
  }

  /**
   * @param length true length of the body in bytes.
   * @param chunks not iterated for HEAD.
   */
  async answer(
    status: number,
    headers: Headers,
    length: number,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { framing, contentLengthDelta = 0, retryAfterSeconds } = this.action;
    const bodiless = status === 204 || status === 304;
    const lines: Record<string, string | undefined> = { ...headers };
    if (framing === undefined && !bodiless) lines['Content-Length'] = String(length + contentLengthDelta);
    if (retryAfterSeconds !== undefined) lines['Retry-After'] = String(retryAfterSeconds);
    this.#head(status, { ...lines, ...this.action.headers });
    if (this.record.method !== 'HEAD' && !bodiless) await this.#send(chunks);
    await new Promise<void>((resolve) => {
      if (this.signal.aborted) return resolve();
      this.signal.addEventListener('abort', () => resolve(), { once: true });
      this.#response.end();
    });
  }

  #head(status: number, headers: Headers): void {
    if (this.action.framing === 'close') {
      this.#response.useChunkedEncodingByDefault = false;
      this.#response.shouldKeepAlive = false;
    }
    const present = Object.entries(headers).filter((line): line is [string, string] => line[1] !== undefined);
    this.#response.writeHead(status, present.flat());
    this.#response.flushHeaders();
    this.record.status = status;
    this.record.headAtMs = this.#nowMs();
  }

  async #send(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    const own =
      this.action.bytesPerSecond === undefined ? undefined : new Throttle(this.action.bytesPerSecond);
    await this.#stops();
    for await (const chunk of chunks) {
      let rest = chunk;
      while (rest.length > 0) {
        const step = Math.min(this.#line.stepBytes, own?.stepBytes ?? rest.length, this.#untilStop());
        const now = rest.subarray(0, step);
        rest = rest.subarray(step);
        await this.#line.take(now.length, this.signal);
        await own?.take(now.length, this.signal);
        await this.#write(now);
        await this.#stops();
      }
    }
  }

  /** Body bytes until the fault's next byte; the loop never writes across one. */
  #untilStop(): number {
    const { stallAtByte, resetAtByte, endAtByte } = this.action;
    const sent = this.record.bytesSent;
    const ahead = [stallAtByte, resetAtByte, endAtByte].filter((at) => at !== undefined && at > sent);
    return Math.min(...(ahead as number[])) - sent;
  }

  async #stops(): Promise<void> {
    const { stallAtByte, resetAtByte, endAtByte } = this.action;
    const sent = this.record.bytesSent;
    if (sent === stallAtByte) await this.#untilReleased();
    if (sent === resetAtByte) this.#reset();
    if (sent === endAtByte) {
      this.request.socket.end();
      throw new Ended('ended short on purpose');
    }
  }

  #write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const ended = () => reject(this.signal.reason);
      if (this.signal.aborted) return ended();
      this.signal.addEventListener('abort', ended, { once: true });
      this.#response.write(bytes, (error) => {
        this.signal.removeEventListener('abort', ended);
        if (error) return reject(new Ended('the connection ended', { cause: error }));
        this.record.bytesSent += bytes.length;
        resolve();
      });
    });
  }

  async #untilReleased(): Promise<void> {
    const ended = Promise.withResolvers<never>();
    const abort = () => ended.reject(this.signal.reason);
    this.signal.addEventListener('abort', abort, { once: true });
    try {
      if (this.signal.aborted) throw this.signal.reason;
      await Promise.race([this.fault?.released, ended.promise]);
    } finally {
      this.signal.removeEventListener('abort', abort);
    }
  }

  #reset(): never {
    const { socket } = this.request;
    // TLS has no RST of its own: the socket underneath is what a peer sees.
    const raw = (socket as unknown as { _parent?: typeof socket })._parent ?? socket;
    raw.resetAndDestroy();
    socket.destroy();
    throw new Ended('reset on purpose');
  }
}
