import type { Stream } from '@libp2p/interface';
import { DamselflyError } from '../../../src/errors.ts';
import type { PeerId } from '../../member.ts';
import { type Channel, type CloseListener, MAX_BACKLOG_BYTES, unreachable } from '../channel.ts';
import type { FrameReader } from '../frame-reader.ts';
import { Turns } from '../turns.ts';
import { broken } from '../wire.ts';

/** Bytes that wait to be sent, and who waits for that. */
interface Parcel {
  readonly bytes: Uint8Array;
  readonly onSent: (() => void) | undefined;
}

/**
 * Frames over a libp2p stream. Sent is only after a `drain` what a `send` found no room for: the promise of `onDrain`
 * is never renewed (libp2p 3.3), and the iterator of a stream has no backpressure, so neither is used.
 */
export class StreamChannel implements Channel {
  readonly peer: PeerId;
  readonly #stream: Stream;
  readonly #stallMs: number;
  /** One is being encrypted while another is on the wire. */
  readonly #turns = new Turns(2);
  readonly #queue: Parcel[] = [];
  #backlogBytes = 0;
  /** Sent, but not taken down yet. */
  #halfSent: Parcel | undefined;
  #isPaused = false;
  #error: DamselflyError | undefined;
  #onClose: CloseListener;

  constructor(options: {
    peer: PeerId;
    stream: Stream;
    reader: FrameReader;
    stallMs: number;
    onClose: CloseListener;
  }) {
    const { peer, stream, reader, stallMs, onClose } = options;
    this.peer = peer;
    this.#stream = stream;
    this.#stallMs = stallMs;
    this.#onClose = onClose;
    stream.addEventListener('message', ({ data }) => {
      if (!this.isOpen) return;
      try {
        if (data instanceof Uint8Array) reader.push(data);
        else for (const part of data) reader.push(part);
      } catch (error) {
        this.destroy(
          error instanceof DamselflyError ? error : broken('what it sent could not be read', error),
        );
      }
    });
    stream.addEventListener('drain', () => this.#drained());
    stream.addEventListener('remoteCloseWrite', () => this.destroy(unreachable('the other side closed it')));
    stream.addEventListener('close', ({ error }) => this.#ended(unreachable('the stream has ended', error)));
    if (stream.status !== 'open') queueMicrotask(() => this.#ended(unreachable('the stream has ended')));
  }

  /** From now on another one is told of the end. */
  handOver(onClose: CloseListener): void {
    this.#onClose = onClose;
  }

  get isOpen(): boolean {
    return this.#error === undefined;
  }

  send(frame: Buffer): void {
    if (!this.isOpen) return;
    this.#push({ bytes: frame, onSent: undefined });
    if (this.#backlogBytes > MAX_BACKLOG_BYTES) this.destroy(broken('it does not read its answers'));
  }

  async sendData(head: Buffer, body: Buffer): Promise<void> {
    await this.#turns.enter();
    const stalled = setTimeout(() => this.destroy(unreachable('it takes no bytes')), this.#stallMs);
    try {
      if (!this.isOpen) throw this.#error;
      const sent = Promise.withResolvers<void>();
      // A copy: the stream may look at the bytes after it has said that they are sent. In one, since each costs a frame below.
      this.#push({ bytes: Buffer.concat([head, body]), onSent: sent.resolve });
      await sent.promise;
      if (!this.isOpen) throw this.#error;
    } finally {
      clearTimeout(stalled);
      this.#turns.leave();
    }
  }

  pause(): void {
    this.#isPaused = true;
    // Not within a message's own event: the stream would go on by itself right after it.
    setImmediate(() => {
      if (this.#isPaused && this.isOpen) this.#stream.pause();
    });
  }

  resume(): void {
    this.#isPaused = false;
    if (this.isOpen) this.#stream.resume();
  }

  destroy(error?: DamselflyError): void {
    this.#ended(error ?? unreachable('it has been closed'));
  }

  /** Sends what is left, says that nothing more comes, and waits for the other side to do the same: `withinMs` at most. */
  finish(withinMs: number): void {
    const signal = AbortSignal.timeout(withinMs);
    this.#stream.close({ signal }).catch((error: Error) => this.#stream.abort(error));
  }

  #push(parcel: Parcel): void {
    this.#queue.push(parcel);
    this.#backlogBytes += parcel.bytes.length;
    this.#pump();
  }

  #pump(): void {
    try {
      while (this.#halfSent === undefined && this.isOpen) {
        const parcel = this.#queue.shift();
        if (parcel === undefined) return;
        this.#backlogBytes -= parcel.bytes.length;
        if (this.#stream.send(parcel.bytes)) parcel.onSent?.();
        else this.#halfSent = parcel;
      }
    } catch (error) {
      this.destroy(unreachable('it broke', error));
    }
  }

  #drained(): void {
    const parcel = this.#halfSent;
    this.#halfSent = undefined;
    parcel?.onSent?.();
    this.#pump();
  }

  #ended(error: DamselflyError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#turns.end(error);
    // Who waits for a parcel looks at the error.
    for (const { onSent } of [...(this.#halfSent === undefined ? [] : [this.#halfSent]), ...this.#queue])
      onSent?.();
    this.#queue.length = 0;
    this.#stream.abort(error);
    this.#onClose(error);
  }
}
