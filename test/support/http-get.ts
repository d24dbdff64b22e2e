import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, Agent as TlsAgent } from 'node:https';
import { connect } from 'node:net';
import { headerValues } from './origin/log.ts';

export interface GetOptions {
  /** Default GET. */
  readonly method?: string;
  /**
   * The request target as it goes on the wire; default: path and query of the URL. Give an absolute URL here to speak to
   * a forward proxy at the URL.
   */
  readonly target?: string;
  /** Names in any case; a list of pairs repeats lines in order. */
  readonly headers?: Readonly<Record<string, string>> | readonly (readonly [string, string])[];
  readonly body?: string | Uint8Array;
  /** Hangs up once so many body bytes came; the body is cut to exactly that. */
  readonly abortAfterBytes?: number;
  /** Default 20 s for the whole exchange. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** For kept-alive connections, see {@link keepAlive}; default: a connection of its own. */
  readonly agent?: Agent | TlsAgent;
  readonly socketPath?: string;
  /** Certificate authority, PEM, for https. */
  readonly ca?: string;
  /** Takes the body in place of `body` in the answer, for what is too big to hold. */
  readonly onChunk?: (chunk: Buffer) => void;
  /** Called when the head is here and no body byte was read. */
  readonly onHead?: (response: IncomingMessage) => void;
}

export interface HttpAnswer {
  readonly status: number;
  /** Name, value, name, value …, as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** Body bytes, `onChunk` or not. */
  readonly bytes: number;
  /** False: the connection ended, or we hung up, before the body did. */
  readonly complete: boolean;
  /** `code` of what cut the body, e.g. ECONNRESET. */
  readonly failure: string | undefined;
  /** Milliseconds from the request to the head, to the first body byte, and to the end. */
  readonly headMs: number;
  readonly firstByteMs: number | undefined;
  readonly endMs: number;
  /** The first line of this name; any case. */
  header(name: string): string | undefined;
  json(): unknown;
}

/** A pool of kept-alive connections; `destroy()` it after the test. */
export function keepAlive(options: { readonly maxSockets?: number; readonly ca?: string } = {}): {
  readonly http: Agent;
  readonly https: TlsAgent;
  destroy(): void;
} {
  const http = new Agent({ keepAlive: true, ...options });
  const https = new TlsAgent({ keepAlive: true, ...options });
  return {
    http,
    https,
    destroy() {
      http.destroy();
      https.destroy();
    },
  };
}

/**
 * One request, exactly as told, and whatever came back: a body that was cut is an answer with `complete: false`.
 * @throws when there was no head at all (connection refused or reset, timeout); `code` says why.
 */
export function httpGet(url: string | URL, options: GetOptions = {}): Promise<HttpAnswer> {
  const { method = 'GET', timeoutMs = 20_000, abortAfterBytes = Number.POSITIVE_INFINITY } = options;
  const at = new URL(url);
  const isTls = at.protocol === 'https:';
  const begunMs = performance.now();
  const elapsed = () => performance.now() - begunMs;
  return new Promise((resolve, reject) => {
    const request = (isTls ? httpsRequest : httpRequest)({
      host: at.hostname.replace(/^\[|\]$/g, ''),
      port: at.port === '' ? (isTls ? 443 : 80) : at.port,
      path: options.target ?? at.pathname + at.search,
      method,
      headers: headerLines(at.host, options),
      agent: options.agent ?? false,
      ...(options.socketPath === undefined ? {} : { socketPath: options.socketPath }),
      ...(options.ca === undefined ? {} : { ca: options.ca }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let failure: string | undefined;
    const timer = setTimeout(() => {
      failure = 'ETIMEDOUT';
      request.destroy(Object.assign(new Error(`no end within ${timeoutMs} ms`), { code: failure }));
    }, timeoutMs);
    const headless = (error: Error) => {
      clearTimeout(timer);
      reject(error);
    };
    request.once('error', headless);
    request.once('response', (response) => {
      request.off('error', headless);
      const headMs = elapsed();
      options.onHead?.(response);
      const kept: Buffer[] = [];
      let bytes = 0;
      let firstByteMs: number | undefined;
      response.on('data', (chunk: Buffer) => {
        firstByteMs ??= elapsed();
        const wanted = chunk.subarray(0, abortAfterBytes - bytes);
        bytes += wanted.length;
        if (options.onChunk !== undefined) options.onChunk(wanted);
        else kept.push(wanted);
        if (bytes >= abortAfterBytes) response.destroy();
      });
      const note = (error: NodeJS.ErrnoException) => {
        failure ??= error.code ?? error.name;
      };
      response.once('error', note);
      request.on('error', note);
      response.once('close', () => {
        clearTimeout(timer);
        const { rawHeaders } = response;
        const body = Buffer.concat(kept);
        resolve({
          status: response.statusCode ?? 0,
          rawHeaders,
          body,
          bytes,
          complete: response.complete && bytes < abortAfterBytes,
          failure,
          headMs,
          firstByteMs,
          endMs: elapsed(),
          header: (name) => headerValues(rawHeaders, name)[0],
          json: () => JSON.parse(body.toString('utf8')) as unknown,
        });
      });
      if (abortAfterBytes === 0) response.destroy();
    });
    request.end(options.body);
  });
}

/** The lines as a flat list, which node sends in this order and spelling; Host and Content-Length only where missing. */
function headerLines(host: string, { headers = [], body }: GetOptions): string[] {
  const lines = (Array.isArray(headers) ? headers : Object.entries(headers)) as [string, string][];
  const has = (name: string) => lines.some(([line]) => line.toLowerCase() === name);
  const own: [string, string][] = [];
  if (!has('host')) own.push(['Host', host]);
  if (body !== undefined && !has('content-length')) {
    own.push(['Content-Length', String(Buffer.byteLength(body))]);
  }
  return [...own, ...lines].flat();
}

/** Sends bytes as they are on a connection of its own and gives back what came until the other side ended it. */
export function rawExchange(
  host: string,
  bytes: string | Uint8Array,
  options: { readonly timeoutMs?: number; readonly endAfterSending?: boolean } = {},
): Promise<Buffer> {
  const { timeoutMs = 5_000, endAfterSending = false } = options;
  const colon = host.lastIndexOf(':');
  return new Promise((resolve, reject) => {
    const socket = connect(Number(host.slice(colon + 1)), host.slice(0, colon));
    const kept: Buffer[] = [];
    const timer = setTimeout(() => {
      socket.destroy();
      reject(Object.assign(new Error(`no end within ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    socket.on('data', (chunk) => kept.push(chunk));
    socket.once('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(kept));
    });
    socket.write(bytes, () => {
      if (endAfterSending) socket.end();
    });
  });
}
