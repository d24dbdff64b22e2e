import { connect, type Socket } from 'node:net';

/** Bodies are read into one buffer per connection and thrown away: a byte costs little more than recv(2). */
const RECEIVE_BYTES = 1 << 20;
const MAX_HEAD_BYTES = 16 << 10;
const IDLE_TIMEOUT_MS = 60_000;

export interface Exchange {
  readonly url: URL;
  readonly range?: readonly [start: number, end: number];
  /** Body bytes that a right answer has. */
  readonly bytes: number;
}

export interface ExchangeTimes {
  readonly firstByteMs: number;
  readonly endMs: number;
}

interface Waiting {
  readonly exchange: Exchange;
  readonly begunMs: number;
  firstByteMs: number | undefined;
  leftBytes: number;
  head: string | undefined;
  readonly done: PromiseWithResolvers<ExchangeTimes>;
}

/** One kept-alive connection that has one request at a time on its way. */
export class Connection {
  readonly #onBody: (chunk: Buffer) => void;
  #socket: Socket | undefined;
  #waiting: Waiting | undefined;

  constructor(onBody: (chunk: Buffer) => void) {
    this.#onBody = onBody;
  }

  /** @throws when the status is not 200 or 206 as it must be, or the length is not that of the range. */
  async get(exchange: Exchange): Promise<ExchangeTimes> {
    const { range, url } = exchange;
    const socket = this.#socket ?? this.#connect(url);
    const waiting: Waiting = {
      exchange,
      begunMs: performance.now(),
      firstByteMs: undefined,
      leftBytes: exchange.bytes,
      head: '',
      done: Promise.withResolvers(),
    };
    this.#waiting = waiting;
    const rangeLine = range === undefined ? '' : `Range: bytes=${range[0]}-${range[1] - 1}\r\n`;
    socket.write(`GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n${rangeLine}\r\n`, 'latin1');
    return await waiting.done.promise;
  }

  close(): void {
    this.#socket?.destroy();
  }

  #connect(url: URL): Socket {
    const buffer = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
    const socket = connect({
      host: url.hostname,
      port: Number(url.port),
      noDelay: true,
      onread: {
        buffer,
        callback: (count) => {
          this.#receive(buffer.subarray(0, count));
          return true;
        },
      },
    });
    socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy(new Error('no byte for a minute')));
    let failure = new Error('the server hung up');
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', () => {
      this.#socket = undefined;
      this.#waiting?.done.reject(failure);
    });
    this.#socket = socket;
    return socket;
  }

  #receive(chunk: Buffer): void {
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#fail('bytes that nobody asked for');
      return;
    }
    const body = waiting.head === undefined ? chunk : this.#receiveHead(waiting, chunk);
    if (body === undefined || body.length === 0) return;
    waiting.firstByteMs ??= performance.now() - waiting.begunMs;
    waiting.leftBytes -= body.length;
    if (waiting.leftBytes < 0) {
      this.#fail('more bytes than the head said');
      return;
    }
    this.#onBody(body);
    if (waiting.leftBytes > 0) return;
    this.#waiting = undefined;
    waiting.done.resolve({ firstByteMs: waiting.firstByteMs, endMs: performance.now() - waiting.begunMs });
  }

  /** @returns what of the chunk belongs to the body, once the head is complete. */
  #receiveHead(waiting: Waiting, chunk: Buffer): Buffer | undefined {
    const already = waiting.head?.length ?? 0;
    const text = (waiting.head ?? '') + chunk.toString('latin1', 0, MAX_HEAD_BYTES);
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) {
      if (text.length >= MAX_HEAD_BYTES) this.#fail('no end of the head');
      else waiting.head = text;
      return undefined;
    }
    waiting.head = undefined;
    const status = Number(text.slice(9, 12));
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1]);
    const wanted = waiting.exchange.range === undefined ? 200 : 206;
    if (status !== wanted || length !== waiting.exchange.bytes) {
      this.#fail(`status ${status} with ${length} bytes, not ${wanted} with ${waiting.exchange.bytes}`);
      return undefined;
    }
    return chunk.subarray(end + 4 - already);
  }

  #fail(why: string): void {
    this.#waiting?.done.reject(new Error(why));
    this.#waiting = undefined;
    this.#socket?.destroy();
  }
}
