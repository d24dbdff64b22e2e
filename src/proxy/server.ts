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
import type { FastifyInstance } from 'fastify';
import type { ListenAddress } from '../../config/address.ts';
import type { Logger } from '../observe/log.ts';
import { answerClientError } from './client-error.ts';
import { continueOnRead } from './expect-continue.ts';
import { listen } from './listen.ts';
import { isPingPath, pingRoutes } from './pings.ts';
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
/** The contract: streams have this long to end once the node is told to stop. */
export const CLOSE_GRACE_MS = 5_000;
const CLOSE_POLL_MS = 25;

export interface ProxyServerOptions {
  /** Gets every request that is not a health check, as node:http parsed it, absolute URLs included. It never throws. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** `CONNECT host:port`; without it, 405. The socket is the handler's from then on. */
  readonly connect?: ((request: IncomingMessage, socket: Duplex, head: Buffer) => void) | undefined;
  /** What the health checks answer: nothing else decides, and nothing is touched. */
  readonly healthy: () => boolean;
  /** False on a listener whose `/` is a blob. */
  readonly isRootPing?: boolean;
  /** PEM. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly log: Logger;
}

/** The HTTP servers of one listener: one for each address, all alike. */
export class ProxyServer {
  readonly #options: ProxyServerOptions;
  readonly #pings: FastifyInstance;
  readonly #servers: HttpServer[] = [];
  readonly #sockets = new Set<Socket>();
  #closing = false;

  constructor(options: ProxyServerOptions) {
    this.#options = options;
    this.#pings = pingRoutes(options.healthy);
  }

  /**
   * @param key of the configuration, named when an address cannot be had.
   * @returns the addresses with the ports that the system chose.
   * @throws DamselflyError `listen-failed`; what had been bound is closed again.
   */
  async listen(addresses: readonly ListenAddress[], key = 'proxy.listen'): Promise<ListenAddress[]> {
    await this.#pings.ready();
    const bound: ListenAddress[] = [];
    try {
      for (const address of addresses) {
        const server = this.#createServer();
        bound.push(await listen(server, address, key));
        server.on('error', (error) => this.#options.log.error({ err: error }, 'the proxy port failed'));
        this.#servers.push(server);
      }
    } catch (error) {
      await this.close(0);
      throw error;
    }
    return bound;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Takes no new connections, closes idle ones at once, lets answers end within `graceMs` and cuts what is left. */
  async close(graceMs: number = CLOSE_GRACE_MS): Promise<void> {
    this.#closing = true;
    const servers = this.#servers.splice(0);
    let isOver = false;
    const closed = Promise.all(
      servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    ).then(() => {
      isOver = true;
    });
    // node:http counts a connection on which nothing has come yet as busy.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    const deadlineMs = performance.now() + graceMs;
    while (!isOver && performance.now() < deadlineMs) {
      await delay(CLOSE_POLL_MS);
      // An answer that has ended leaves a connection that is idle only now.
      for (const server of servers) server.closeIdleConnections();
    }
    for (const server of servers) server.closeAllConnections();
    for (const socket of this.#sockets) resetSocket(socket);
    await closed;
    await this.#pings.close();
  }

  #createServer(): HttpServer {
    const { tls } = this.#options;
    const options: ServerOptions = {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      maxHeaderSize: MAX_HEAD_BYTES,
      noDelay: true,
    };
    const server = tls === undefined ? createHttpServer(options) : createHttpsServer({ ...options, ...tls });
    server.maxConnections = MAX_CONNECTIONS;
    server.on('request', this.#onRequest);
    server.on('checkExpectation', this.#onRequest);
    server.on('checkContinue', (request, response) => {
      continueOnRead(request, response);
      this.#onRequest(request, response);
    });
    server.on('connect', this.#options.connect ?? refuseConnect);
    server.on('clientError', answerClientError);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    return server;
  }

  readonly #onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { url = '', method } = request;
    if (this.#closing) response.shouldKeepAlive = false;
    if (url.length > MAX_URL_LENGTH) {
      response.writeHead(414, ['Connection', 'close', 'Content-Length', '0']);
      response.end();
    } else if ((method === 'GET' || method === 'HEAD') && this.#isPing(url)) {
      this.#pings.routing(request, response);
    } else {
      this.#options.handle(request, response);
    }
  };

  #isPing(url: string): boolean {
    if (!isPingPath(url)) return false;
    return this.#options.isRootPing !== false || !(url === '/' || url.startsWith('/?'));
  }
}

function refuseConnect(_request: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => socket.destroy());
  socket.end(
    'HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    () => socket.destroy(),
  );
}
