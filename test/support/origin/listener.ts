import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ListenerOptions {
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
  readonly keepAliveTimeoutMs: number;
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
}

/** How long `up()` tries to get its port back from whoever took it meanwhile. */
const REBIND_DEADLINE_MS = 5_000;

/** A listening server that can go away and come back on the same port. */
export class Listener {
  readonly #options: ListenerOptions;
  #server: Server;
  #port = 0;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#server = this.#create();
  }

  static async start(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    await listener.#listen(options.port);
    return listener;
  }

  get port(): number {
    return this.#port;
  }

  /** `127.0.0.1:41234`. */
  get host(): string {
    return `${this.#options.host}:${this.#port}`;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.host}`;
  }

  /** Connections are refused from now on; open ones are cut unless `keepConnections`. */
  async down(options: { readonly keepConnections?: boolean } = {}): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    if (options.keepConnections) return;
    this.#server.closeAllConnections();
    await closed;
  }

  async up(): Promise<void> {
    if (this.#server.listening) return;
    const deadline = performance.now() + REBIND_DEADLINE_MS;
    for (;;) {
      this.#server = this.#create();
      try {
        return await this.#listen(this.#port);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || performance.now() > deadline)
          throw error;
        await sleep(20);
      }
    }
  }

  /** Cuts open connections; the listener stays. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    await this.down();
    this.#server.closeAllConnections();
  }

  #create(): Server {
    const { tls, onRequest, keepAliveTimeoutMs } = this.#options;
    const server =
      tls === undefined
        ? createServer(onRequest)
        : (createTlsServer({ ...tls }, onRequest) as unknown as Server);
    server.keepAliveTimeout = keepAliveTimeoutMs;
    server.requestTimeout = 0;
    server.on('connection', (socket: Socket) => socket.on('error', () => undefined));
    return server;
  }

  #listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, this.#options.host, () => {
        this.#server.off('error', reject);
        this.#port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }
}
