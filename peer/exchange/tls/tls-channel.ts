import type { TLSSocket } from 'node:tls';
import type { DamselflyError } from '../../../src/errors.ts';
import type { PeerId } from '../../member.ts';
import {
  type Channel,
  type CloseListener,
  FRAMES_IN_FLIGHT,
  MAX_BACKLOG_BYTES,
  unreachable,
} from '../channel.ts';
import { Turns } from '../turns.ts';
import { broken } from '../wire.ts';

/** Frames over a TLS socket whose other end is known. */
export class TlsChannel implements Channel {
  readonly peer: PeerId;
  readonly #socket: TLSSocket;
  readonly #stallMs: number;
  readonly #turns = new Turns(FRAMES_IN_FLIGHT);
  #error: DamselflyError | undefined;

  constructor(options: { peer: PeerId; socket: TLSSocket; stallMs: number; onClose: CloseListener }) {
    const { peer, socket, stallMs, onClose } = options;
    this.peer = peer;
    this.#socket = socket;
    this.#stallMs = stallMs;
    socket.on('error', (error) => {
      this.#error ??= unreachable('it broke', error);
    });
    socket.once('close', () => {
      const error = this.#error ?? unreachable('the other side closed it');
      this.#error = error;
      this.#turns.end(error);
      onClose(error);
    });
  }

  get isOpen(): boolean {
    return this.#error === undefined && !this.#socket.destroyed;
  }

  send(frame: Buffer): void {
    if (!this.isOpen) return;
    this.#socket.write(frame);
    if (this.#socket.writableLength > MAX_BACKLOG_BYTES) this.destroy(broken('it does not read its answers'));
  }

  async sendData(head: Buffer, body: Buffer): Promise<void> {
    await this.#turns.enter();
    const stalled = setTimeout(() => this.destroy(unreachable('it takes no bytes')), this.#stallMs);
    try {
      await new Promise<void>((resolve, reject) => {
        if (!this.isOpen) throw this.#error ?? unreachable('it has been closed');
        // Two writes: one of two buffers would copy the body before it is encrypted.
        this.#socket.write(head);
        this.#socket.write(body, (error) => {
          if (error == null) resolve();
          else reject(this.#error ?? unreachable('it broke', error));
        });
      });
    } finally {
      clearTimeout(stalled);
      this.#turns.leave();
    }
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (this.isOpen) this.#socket.resume();
  }

  destroy(error?: DamselflyError): void {
    this.#error ??= error ?? unreachable('it has been closed');
    this.#socket.destroy();
  }
}
