import { connect, type Socket } from 'node:net';

export type Line = readonly [name: string, value: string];

/** Where a client connects to: the proxy's port, or its unix socket. */
export type Place = { readonly host: string; readonly port: number } | { readonly path: string };

/** `stopped`: the client read as much of the body as it wanted. `cut`: the other side ended it before its end. */
export type BodyEnd = 'whole' | 'cut' | 'stopped';

/** An answer as it was on the wire. */
export interface WireAnswer {
  readonly status: number;
  readonly lines: readonly Line[];
  readonly body: Buffer;
  readonly end: BodyEnd;
  /** Another request may follow on this connection. */
  readonly isReusable: boolean;
  /** The first line of this name. */
  header(name: string): string | undefined;
  /** All lines of this name, in order. */
  all(name: string): string[];
}

export interface ReceiveOptions {
  /** The answer to a HEAD has no body, whatever its Content-Length says. */
  readonly method: string;
  /** Reads no more of the body than this; the connection is of no use afterwards. */
  readonly stopAfterBytes?: number | undefined;
}

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: .*)?$/;
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;

/**
 * One connection of a client: bytes out as they are, answers in by the letter of RFC 9112. What a lenient parser would
 * let pass (a broken field line, two lengths, bytes that nobody asked for) throws.
 */
export class Wire {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #kept: Buffer = Buffer.alloc(0);
  #ended = false;
  /** What the connection ended with: a code such as ECONNRESET; undefined for a clean end. */
  failure: string | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** @param idleMs without a byte either way after which the client gives up; default 20 s. */
  static async open(place: Place, idleMs = 20_000): Promise<Wire> {
    const socket = connect(place);
    socket.setNoDelay(true);
    socket.setTimeout(idleMs, () => socket.destroy(Object.assign(new Error('idle'), { code: 'ETIMEDOUT' })));
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new Wire(socket);
  }

  get isOpen(): boolean {
    return !this.#ended && !this.#socket.destroyed && this.#kept.length === 0;
  }

  send(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** The final answer; interim ones (RFC 9110 §15.2) before it are skipped. */
  async receive(options: ReceiveOptions): Promise<WireAnswer> {
    for (;;) {
      const answer = await this.#answer(options);
      if (answer.status >= 200) return answer;
    }
  }

  /** An interim answer, such as 100. @throws when it is a final one. */
  async receiveInterim(): Promise<number> {
    const { status } = await this.#head();
    if (status >= 200) throw new Error(`${status} where an interim answer was due`);
    return status;
  }

  /** Waits until the other side ends the connection. @returns what came until then. */
  async receiveUntilEnd(): Promise<Buffer> {
    while (await this.#more());
    return this.#kept;
  }

  close(): void {
    this.#ended = true;
    this.#socket.destroy();
  }

  async #answer({ method, stopAfterBytes = Number.POSITIVE_INFINITY }: ReceiveOptions): Promise<WireAnswer> {
    const { status, lines } = await this.#head();
    const all = (name: string): string[] =>
      lines.filter(([line]) => line.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
    const [length, ...others] = all('content-length');
    if (others.length > 0) throw new Error('Content-Length came twice');
    if (length !== undefined && !/^\d+$/.test(length)) throw new Error(`Content-Length: ${length}`);
    const isBodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
    const isChunked = all('transfer-encoding').join().toLowerCase() === 'chunked';
    const body = isBodiless
      ? { bytes: Buffer.alloc(0), end: 'whole' as const }
      : isChunked
        ? await this.#chunked()
        : await this.#plain(length === undefined ? undefined : Number(length), stopAfterBytes);
    const saysClose = all('connection').some((value) => /\bclose\b/i.test(value));
    const isFramed = isBodiless || isChunked || length !== undefined;
    return {
      status,
      lines,
      body: body.bytes,
      end: body.end,
      isReusable: body.end === 'whole' && isFramed && !saysClose,
      header: (name) => all(name)[0],
      all,
    };
  }

  async #head(): Promise<{ status: number; lines: readonly Line[] }> {
    let end = this.#kept.indexOf('\r\n\r\n');
    while (end < 0) {
      if (!(await this.#more())) throw this.#early('in the head');
      end = this.#kept.indexOf('\r\n\r\n');
    }
    const [first = '', ...fields] = this.#take(end + 4)
      .toString('latin1')
      .slice(0, -4)
      .split('\r\n');
    const status = STATUS_LINE.exec(first)?.[1];
    if (status === undefined) throw new Error(`no status line: ${first}`);
    const lines = fields.map((field): Line => {
      const [, name, value] = FIELD_LINE.exec(field) ?? [];
      if (name === undefined || value === undefined) throw new Error(`no field line: ${field}`);
      return [name, value];
    });
    return { status: Number(status), lines };
  }

  async #plain(length: number | undefined, stopAfterBytes: number): Promise<{ bytes: Buffer; end: BodyEnd }> {
    const wanted = Math.min(length ?? Number.POSITIVE_INFINITY, stopAfterBytes);
    const parts: Buffer[] = [];
    let bytes = 0;
    for (;;) {
      const part = this.#take(Math.min(this.#kept.length, wanted - bytes));
      parts.push(part);
      bytes += part.length;
      if (bytes >= wanted) break;
      if (!(await this.#more())) {
        const isWhole = length === undefined && this.failure === undefined;
        return { bytes: Buffer.concat(parts), end: isWhole ? 'whole' : 'cut' };
      }
    }
    return {
      bytes: Buffer.concat(parts),
      end: length !== undefined && bytes === length ? 'whole' : 'stopped',
    };
  }

  async #chunked(): Promise<{ bytes: Buffer; end: BodyEnd }> {
    const parts: Buffer[] = [];
    for (;;) {
      let end = this.#kept.indexOf('\r\n');
      while (end < 0) {
        if (!(await this.#more())) return { bytes: Buffer.concat(parts), end: 'cut' };
        end = this.#kept.indexOf('\r\n');
      }
      const size = Number.parseInt(this.#take(end + 2).toString('latin1'), 16);
      if (Number.isNaN(size)) throw new Error('a chunk without a size');
      while (this.#kept.length < size + 2) {
        if (!(await this.#more())) return { bytes: Buffer.concat(parts), end: 'cut' };
      }
      parts.push(this.#take(size));
      if (this.#take(2).toString() !== '\r\n') throw new Error('a chunk that is longer than it says');
      if (size === 0) return { bytes: Buffer.concat(parts), end: 'whole' };
    }
  }

  #take(length: number): Buffer {
    const taken = this.#kept.subarray(0, length);
    this.#kept = this.#kept.subarray(length);
    return taken;
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    try {
      const { done, value } = await this.#chunks.next();
      if (done !== true) {
        this.#kept = this.#kept.length === 0 ? value : Buffer.concat([this.#kept, value]);
        return true;
      }
    } catch (error) {
      this.failure = (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
    this.#ended = true;
    return false;
  }

  #early(where: string): Error {
    return Object.assign(new Error(`the connection ended ${where} (${this.failure ?? 'cleanly'})`), {
      code: this.failure ?? 'EOF',
    });
  }
}
