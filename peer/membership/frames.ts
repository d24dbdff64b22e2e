import type { Stream } from '@libp2p/interface';
import { MalformedBytes } from './bytes.ts';
import { MAX_FRAME_BYTES } from './message.ts';

const LENGTH_BYTES = 4;
/** Somebody who does not read what we send is let go at this, and so is one who sends faster than can be read. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;
/** Some thirty rows, each with a signature to check: after a frame of so much, others have their turn first. */
const LONG_FRAME_BYTES = 8 * 1024;
const CLOSE_MS = 1_000;

export interface FrameHandlers {
  /** May throw: the stream is aborted then. */
  onFrame(bytes: Uint8Array): void;
  /** Called once, however the stream ended; with the error that ended it here. */
  onEnd(error: Error | undefined): void;
}

/** Messages on a libp2p stream: each has its length before it, in 4 bytes. */
export class Frames {
  readonly #stream: Stream;
  readonly #handlers: FrameHandlers;
  readonly #chunks: Uint8Array[] = [];
  #buffered = 0;
  #isResting = false;
  #isRemoteDone = false;
  #isOver = false;
  #closing: Promise<void> = Promise.resolve();

  constructor(stream: Stream, handlers: FrameHandlers) {
    this.#stream = stream;
    this.#handlers = handlers;
    stream.addEventListener('message', ({ data }) => {
      if (this.#isOver) return;
      for (const part of data instanceof Uint8Array ? [data] : data) {
        this.#chunks.push(part);
        this.#buffered += part.length;
      }
      if (this.#buffered > MAX_UNREAD_BYTES) this.abort(new MalformedBytes('more than can be read'));
      if (!this.#isResting) this.#read();
    });
    stream.addEventListener('remoteCloseWrite', () => {
      this.#isRemoteDone = true;
      if (!this.#isResting) this.close();
    });
    stream.addEventListener('close', ({ error }) => this.#end(error ?? undefined));
  }

  /** Best effort: what cannot be sent is lost with the stream. */
  send(bytes: Uint8Array): void {
    if (this.#isOver || this.#stream.writeStatus !== 'writable') return;
    const frame = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length);
    frame.writeUInt32BE(bytes.length);
    frame.set(bytes, LENGTH_BYTES);
    try {
      this.#stream.send(frame);
    } catch (error) {
      this.abort(error as Error);
    }
    if (this.#stream.writeBufferLength > MAX_UNSENT_BYTES)
      this.abort(new Error('it does not read what it is sent'));
  }

  /** Lets what was sent arrive, within a second. */
  close(): void {
    if (this.#isOver) return;
    this.#closing = this.#stream
      .close({ signal: AbortSignal.timeout(CLOSE_MS) })
      .catch((error: Error) => this.#stream.abort(error));
    this.#end(undefined);
  }

  /** Resolves when what was sent before {@link close} has left, or is given up. */
  async flushed(): Promise<void> {
    await this.#closing;
  }

  abort(error: Error): void {
    if (this.#isOver) return;
    this.#end(error);
    this.#stream.abort(error);
  }

  #end(error: Error | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#chunks.length = 0;
    this.#buffered = 0;
    this.#handlers.onEnd(error);
  }

  #read(): void {
    try {
      for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
        this.#handlers.onFrame(frame);
        if (frame.length < LONG_FRAME_BYTES || this.#isOver) continue;
        this.#isResting = true;
        setImmediate(() => {
          this.#isResting = false;
          this.#read();
        });
        return;
      }
    } catch (error) {
      this.abort(error as Error);
    }
    if (this.#isRemoteDone) this.close();
  }

  #next(): Buffer | undefined {
    if (this.#isOver || this.#buffered < LENGTH_BYTES) return undefined;
    const length = this.#join(LENGTH_BYTES).readUInt32BE();
    if (length > MAX_FRAME_BYTES) throw new MalformedBytes(`a frame of ${length} bytes`);
    if (this.#buffered < LENGTH_BYTES + length) return undefined;
    const whole = this.#join(LENGTH_BYTES + length);
    this.#drop(LENGTH_BYTES + length);
    return whole.subarray(LENGTH_BYTES);
  }

  /** The first bytes in one piece. */
  #join(length: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) {
      return Buffer.from(first.buffer, first.byteOffset, length);
    }
    const all = Buffer.concat(this.#chunks, this.#buffered);
    this.#chunks.splice(0, this.#chunks.length, all);
    return all.subarray(0, length);
  }

  #drop(length: number): void {
    let rest = length;
    this.#buffered -= length;
    while (rest > 0) {
      const [first] = this.#chunks;
      if (first === undefined) return;
      if (first.length > rest) {
        this.#chunks[0] = first.subarray(rest);
        return;
      }
      rest -= first.length;
      this.#chunks.shift();
    }
  }
}
