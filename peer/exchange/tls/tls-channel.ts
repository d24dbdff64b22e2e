import type { TLSSocket } from 'node:tls';
import type { DamselflyError } from '../../../src/errors.ts';
import type { PeerId } from '../../member.ts';
import { type Channel, type CloseListener, MAX_BACKLOG_BYTES, unreachable } from '../channel.ts';
import { Turns } from '../turns.ts';
import { broken } from '../wire.ts';

/** What one TLS record holds (RFC 8446 §5.1). */
const RECORD_BYTES = 16 * 1024;

/** Frames over a TLS socket whose other end is known. */
export class TlsChannel implements Channel {
  readonly peer: PeerId;
  readonly #socket: TLSSocket;
  readonly #stallMs: number;
  /** One frame at a time: node joins what waits behind a write in fresh memory, which made the holder's CPU a half more. */
  readonly #turns = new Turns(1);
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
        // The head shares the first record; the rest is encrypted right from the lender's memory.
        const inFirst = body.subarray(0, RECORD_BYTES - head.length);
        const rest = body.subarray(inFirst.length);
        if (rest.length > 0) this.#socket.write(Buffer.concat([head, inFirst]));
        this.#socket.write(rest.length > 0 ? rest : Buffer.concat([head, inFirst]), (error) => {
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
