import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { ListenAddress } from '../../config/address.ts';
import type { Logger } from '../observe/log.ts';
import { CLOSE_GRACE_MS, createProxyHttpServer, drain, refuseConnect } from './http-server.ts';
import { listen } from './listen.ts';
import { isPingPath, pingRoutes } from './pings.ts';
import type { Adopt } from './tunnel-target.ts';

export interface ProxyServerOptions {
  /** Gets every request that is not a health check, as node:http parsed it, absolute URLs included. It never throws. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /**
   * `CONNECT host:port`; without it, 405. The socket is the handler's from then on; what it finds inside, it may give to
   * `adopt` to have its requests handled. Health checks are none of them, nor is another CONNECT.
   */
  readonly connect?:
    | ((request: IncomingMessage, socket: Duplex, head: Buffer, adopt: Adopt) => void)
    | undefined;
  /** What the health checks answer: nothing else decides, and nothing is touched. */
  readonly healthy: () => boolean;
  /** False on a listener whose `/` is a blob. */
  readonly isRootPing?: boolean;
  /** PEM. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly tlsHandshakeMs?: number | undefined;
  readonly log: Logger;
}

/** The HTTP servers of one listener: one for each address, all alike. */
export class ProxyServer {
  readonly #options: ProxyServerOptions;
  readonly #pings: FastifyInstance;
  readonly #servers: HttpServer[] = [];
  readonly #sockets = new Set<Socket>();
  /** TLS connections on which no request has come yet. */
  readonly #unused = new Set<Socket>();
  /** TLS connections that came out of a tunnel. */
  readonly #inside = new WeakSet<Socket>();
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
    for (const socket of this.#unused) socket.destroy();
    await drain(servers, this.#sockets, () => isOver, graceMs);
    await closed;
    await this.#pings.close();
  }

  #createServer(): HttpServer {
    const { tls, connect, tlsHandshakeMs } = this.#options;
    const server = createProxyHttpServer({
      onRequest: this.#onRequest,
      onConnect: (request, socket, head) => {
        if (connect === undefined || this.#inside.has(request.socket)) refuseConnect(request, socket);
        else connect(request, socket, head, adopt);
      },
      tls,
      tlsHandshakeMs,
    });
    server.on('connection', (socket: Socket) => track(this.#sockets, socket));
    // Its socket has read bytes, those of the handshake, and the HTTP server does not call it idle.
    server.on('secureConnection', (socket: Socket) => {
      // Its handshake was under way when the node was told to stop.
      if (this.#closing) socket.destroy();
      else track(this.#unused, socket);
    });
    const adopt: Adopt = (inside) => {
      if (this.#closing) {
        inside.destroy();
        return;
      }
      this.#inside.add(inside);
      track(this.#unused, inside);
      // node:http takes connections of any kind by the event of its own.
      server.emit(tls === undefined ? 'connection' : 'secureConnection', inside);
    };
    return server;
  }

  readonly #onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { url = '', method } = request;
    this.#unused.delete(request.socket);
    if (this.#closing) response.shouldKeepAlive = false;
    const isPing = (method === 'GET' || method === 'HEAD') && this.#isPing(url);
    if (isPing && !this.#inside.has(request.socket)) {
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

function track(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
}
