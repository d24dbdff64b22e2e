import type { ServerResponse } from 'node:http';
import { clientGone } from './body-ended.ts';
import { Interruptible } from './interruptible.ts';
import { queuedBytes, socketFd } from './node-internals.ts';

/** The loop is given back after so many bytes: pings and other clients come in between (dataplane-lab.md 2.4). */
export const TURN_BYTES = 1 << 20;

/**
 * One response's way to its client: every write waits until the kernel has taken its bytes, so there is never more
 * than one chunk in memory for a client, however slow it is; and none waits longer than the client may idle.
 */
export class ClientStream {
  readonly #response: ServerResponse;
  readonly #idleMs: number;
  readonly #onBytes: ((bytes: number) => void) | undefined;
  readonly waits = new Interruptible();
  #headSent = false;
  #bytes = 0;
  #sinceTurn = 0;
  #waitedMs = 0;

  constructor(response: ServerResponse, idleMs: number, onBytes?: (bytes: number) => void) {
    this.#response = response;
    this.#idleMs = idleMs;
    this.#onBytes = onBytes;
  }

  /** Body bytes that the kernel has taken. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Milliseconds that were spent waiting for the client, and are not the source's fault. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Waits for this response's turn on a connection with pipelined requests: nothing is read before it can be sent. */
  async turnCame(): Promise<void> {
    const response = this.#response;
    if (response.socket !== null) return;
    const began = performance.now();
    await this.waits.wait<void>((resolve) => response.once('socket', () => resolve()));
    this.#waitedMs += performance.now() - began;
  }

  /** False under TLS: all bytes must go through the stream. */
  get isPlain(): boolean {
    const { socket } = this.#response;
    return socket !== null && socketFd(socket) !== undefined;
  }

  /** Sends a head that would else leave with the first write. */
  flushHead(): void {
    if (this.#headSent) return;
    this.#headSent = true;
    this.#response.flushHeaders();
  }

  async write(bytes: Uint8Array, last: boolean): Promise<void> {
    this.#headSent = true;
    await this.#untilTaken((taken) => {
      if (last) this.#response.end(bytes, taken);
      else this.#response.write(bytes, taken);
    });
    this.#account(bytes.length);
    if (last) return;
    this.#sinceTurn += bytes.length;
    await this.giveTurn();
  }

  /** Ends a response whose bytes have all been sent. */
  async finish(): Promise<void> {
    await this.#untilTaken((taken) => this.#response.end(taken));
  }

  /**
   * The socket's descriptor, if bytes may be put into it right now: nothing of this connection is queued above the
   * kernel. It is good until the end of the present tick.
   */
  directFd(): number | undefined {
    const { socket } = this.#response;
    if (socket === null || socket.destroyed || !socket.writable) return undefined;
    if (socket.writableLength > 0 || socket.writableCorked > 0) return undefined;
    return socketFd(socket);
  }

  /** Bytes that went past the stream, straight into the socket. */
  sentDirectly(bytes: number): void {
    this.#account(bytes);
    this.#sinceTurn += bytes;
  }

  /** How many bytes may follow before the loop is given back. */
  get untilTurn(): number {
    return TURN_BYTES - this.#sinceTurn;
  }

  /** Gives the loop back if it is time to. */
  async giveTurn(): Promise<void> {
    if (this.#sinceTurn < TURN_BYTES) return;
    this.#sinceTurn = 0;
    await this.waits.wait<void>((resolve) => setImmediate(resolve, undefined));
  }

  #account(bytes: number): void {
    this.#bytes += bytes;
    this.#onBytes?.(bytes);
  }

  async #untilTaken(send: (taken: (error?: Error | null) => void) => void): Promise<void> {
    const began = performance.now();
    let queued = Number.POSITIVE_INFINITY;
    await this.waits.wait<void>(
      (resolve, reject) => {
        send((error) => {
          if (error === undefined || error === null) resolve();
          else reject(clientGone('the connection broke while it was written to', error));
        });
      },
      {
        ms: this.#idleMs,
        // One chunk may take a slow client longer than that: what counts is that its queue gets shorter.
        reached: () => {
          const { socket } = this.#response;
          const left = socket === null ? undefined : queuedBytes(socket);
          if (left === undefined || left >= queued)
            return clientGone('the client read nothing for its whole idle time');
          queued = left;
          return this.#idleMs;
        },
      },
    );
    this.#waitedMs += performance.now() - began;
  }
}
