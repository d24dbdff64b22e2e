import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { answerClientError } from './client-error.ts';
import { continueOnRead } from './expect-continue.ts';
import { resetSocket } from './reset.ts';

/** Longer than BuildKit's 120 s and reqwest's 90 s: it is the client that closes idle connections (clients.md 8.21). */
const KEEP_ALIVE_MS = 125_000;
/** Also bounds a connection on which nothing has come yet, which clients may keep in their pools as long as any other. */
const HEADERS_MS = 130_000;
/** A whole request with its body: pushes of big layers pass through here. */
const REQUEST_MS = 3_600_000;
/**
 * A whole head. Registry tokens with many scopes may pass Node's own limit of 16 KiB; and less than the 64 KiB of one
 * read, so that a head which is too long is mostly seen from its first byte on, and 414 is told from 431.
 */
const MAX_HEAD_BYTES = 48 << 10;
/** Signed URLs, whole, inside a path are the longest that come. */
const MAX_URL_LENGTH = 16 << 10;
/** Far above what clients open (12 per nydusd process), and below what a process may have open. */
const MAX_CONNECTIONS = 16_384;
/** A client that connects to a TLS port and does not come to terms in this time is none. */
export const TLS_HANDSHAKE_MS = 10_000;
/** The contract: streams have this long to end once the node is told to stop. */
export const CLOSE_GRACE_MS = 5_000;
export const CLOSE_POLL_MS = 25;

export interface HttpServerOptions {
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  readonly onConnect: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** PEM. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** Tests want it shorter. */
  readonly tlsHandshakeMs?: number | undefined;
}

/** An HTTP/1.1 server with the limits of the proxy port. A URL that is too long never reaches `onRequest`. */
export function createProxyHttpServer(options: HttpServerOptions): HttpServer {
  const { tls, onRequest, tlsHandshakeMs = TLS_HANDSHAKE_MS } = options;
  const settings: ServerOptions = {
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    maxHeaderSize: MAX_HEAD_BYTES,
    noDelay: true,
  };
  const server =
    tls === undefined
      ? createHttpServer(settings)
      : createHttpsServer({ ...settings, ...tls, handshakeTimeout: tlsHandshakeMs });
  server.maxConnections = MAX_CONNECTIONS;
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    if ((request.url?.length ?? 0) > MAX_URL_LENGTH) {
      response.writeHead(414, ['Connection', 'close', 'Content-Length', '0']);
      response.end();
    } else {
      onRequest(request, response);
    }
  };
  server.on('request', take);
  server.on('checkExpectation', take);
  server.on('checkContinue', (request, response) => {
    continueOnRead(request, response);
    take(request, response);
  });
  server.on('connect', options.onConnect);
  server.on('clientError', answerClientError);
  return server;
}

/** `CONNECT` where there is none. */
export function refuseConnect(_request: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  socket.end(
    'HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    () => socket.destroy(),
  );
}

/**
 * Ends idle connections of servers that take no new ones, as they become idle, for at most `graceMs`; what is left of
 * `sockets` then is reset.
 * @param isOver whether nothing is left to wait for.
 */
export async function drain(
  servers: readonly HttpServer[],
  sockets: ReadonlySet<Socket>,
  isOver: () => boolean,
  graceMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + graceMs;
  while (!isOver() && performance.now() < deadlineMs) {
    await delay(CLOSE_POLL_MS);
    // An answer that has ended leaves a connection that is idle only now.
    for (const server of servers) server.closeIdleConnections();
  }
  for (const server of servers) server.closeAllConnections();
  for (const socket of sockets) resetSocket(socket);
}
