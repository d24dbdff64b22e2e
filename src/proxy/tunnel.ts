import type { Socket } from 'node:net';
import { resetSocket } from './reset.ts';

/** Above what any client keeps an idle connection for (clients.md 8.21), and what a slow server thinks for. */
export const TUNNEL_IDLE_MS = 600_000;
/** One side has said its last, and nothing comes from the other. */
export const TUNNEL_HALF_CLOSED_MS = 120_000;

export interface TunnelOptions {
  /** What each side had sent before the tunnel was there. */
  readonly fromClient: Buffer;
  readonly fromOrigin: Buffer;
  readonly onBytes: (direction: 'up' | 'down', bytes: number) => void;
  readonly idleMs?: number | undefined;
  readonly halfClosedMs?: number | undefined;
}

/**
 * Two connections joined byte for byte. Backpressure goes through (each side is read only as far as the other takes
 * it), and so does a half-close. A side that breaks breaks the other: a reset is never told as a clean end.
 */
export class Tunnel {
  /** When both connections are gone. Never rejects. */
  readonly closed: Promise<void>;
  readonly #client: Socket;
  readonly #origin: Socket;
  #lastBytesMs = performance.now();

  constructor(client: Socket, origin: Socket, options: TunnelOptions) {
    this.#client = client;
    this.#origin = origin;
    const { onBytes, idleMs = TUNNEL_IDLE_MS, halfClosedMs = TUNNEL_HALF_CLOSED_MS } = options;
    this.closed = Promise.all([gone(client), gone(origin)]).then(() => undefined);
    const count = (direction: 'up' | 'down', bytes: number): void => {
      this.#lastBytesMs = performance.now();
      onBytes(direction, bytes);
    };
    const waitAtMost = (timeoutMs: number): void => {
      client.setTimeout(timeoutMs);
      origin.setTimeout(timeoutMs);
    };
    for (const [from, to] of [
      [client, origin],
      [origin, client],
    ] as const) {
      from.on('timeout', () => this.cut());
      from.on('error', () => resetSocket(to));
      from.once('end', () => waitAtMost(halfClosedMs));
      // Without an end: it was destroyed, and whatever the other side still sends has nobody to go to.
      from.once('close', () => {
        if (!from.readableEnded || !from.writableFinished) resetSocket(to);
      });
    }
    waitAtMost(idleMs);
    if (options.fromClient.length > 0) client.unshift(options.fromClient);
    if (options.fromOrigin.length > 0) origin.unshift(options.fromOrigin);
    client.on('data', (chunk: Buffer) => count('up', chunk.length));
    origin.on('data', (chunk: Buffer) => count('down', chunk.length));
    client.pipe(origin);
    origin.pipe(client);
  }

  /** Nothing has gone through for so long. */
  get idleMs(): number {
    return performance.now() - this.#lastBytesMs;
  }

  /** Ends both connections of a tunnel on which nothing is under way. */
  end(): void {
    this.#client.destroy();
    this.#origin.destroy();
  }

  /** Ends both connections at once; what is under way is lost, and looks so. */
  cut(): void {
    resetSocket(this.#client);
    resetSocket(this.#origin);
  }
}

function gone(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}
