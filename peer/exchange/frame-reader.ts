import {
  FRAME,
  type FrameHead,
  HEAD_BYTES,
  LENGTH_BYTES,
  MAX_CONTROL_BYTES,
  MAX_DATA_BYTES,
  MAX_HELLO_BYTES,
} from './frame.ts';
import { broken } from './wire.ts';

/** One TLS record. */
const SCRATCH_BYTES = 16 * 1024;

/** Who gets what a {@link FrameReader} finds. Whatever it throws ends the reading. */
export interface FrameSink {
  /** A whole small frame; `body` is used again after the call. */
  onFrame(head: FrameHead, body: Buffer): void;
  /**
   * Bytes of a piece follow.
   * @returns where they belong, of exactly that length; null: nobody wants them.
   */
  dataTarget(tag: number, bytes: number): Buffer | null;
  /** `bytes` more of them are there; with `isEnd` the frame is complete, and its target is not written to any more. */
  onData(tag: number, bytes: number, isEnd: boolean): void;
}

interface DataFrame {
  readonly tag: number;
  /** What is still to come; unwanted bytes have no place of their own. */
  rest: Buffer | null;
  left: number;
}

/**
 * Cuts a stream of bytes into frames, and holds at most one small frame and one record. It says where the
 * next bytes are to be put, so that a socket can write a piece right where it belongs; or it is given bytes to copy.
 */
export class FrameReader {
  sink: FrameSink;
  /** Until it is set, only a hello (or a refusal) of a few bytes is let through. */
  isTrusted = false;
  #scratch: Buffer = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  /** What of the scratch is not cut yet: [start, end). */
  #start = 0;
  #end = 0;
  #data: DataFrame | null = null;

  constructor(sink: FrameSink) {
    this.sink = sink;
  }

  /** Bytes are going to be written into this piece's buffer by whoever holds the last {@link target}. */
  isWriting(tag: number): boolean {
    return this.#data?.tag === tag && this.#data.rest !== null;
  }

  /** Where the next bytes belong; never empty. */
  target(): Buffer {
    const data = this.#data;
    if (data?.rest != null) return data.rest;
    return this.#scratch.subarray(this.#end);
  }

  /**
   * `bytes` have been put at the beginning of the last {@link target}.
   * @throws DamselflyError `peer-broken`, or what the sink throws; the reader is not to be used afterwards.
   */
  advance(bytes: number): void {
    const data = this.#data;
    if (data?.rest != null) {
      this.#took(data, bytes);
      return;
    }
    this.#end += bytes;
    this.#cut();
  }

  /** The same for bytes that lie elsewhere. */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const target = this.target();
      const part = bytes.subarray(at, at + target.length);
      target.set(part);
      at += part.length;
      this.advance(part.length);
    }
  }

  #took(data: DataFrame, bytes: number): void {
    data.left -= bytes;
    if (data.rest !== null) data.rest = data.rest.subarray(bytes);
    if (data.left === 0) this.#data = null;
    this.sink.onData(data.tag, bytes, data.left === 0);
  }

  #cut(): void {
    while (this.#start < this.#end) {
      if (this.#data !== null) this.#cutData(this.#data);
      else if (!this.#cutFrame()) break;
    }
    this.#tidy();
  }

  #cutData(data: DataFrame): void {
    const bytes = Math.min(data.left, this.#end - this.#start);
    data.rest?.set(this.#scratch.subarray(this.#start, this.#start + bytes));
    this.#start += bytes;
    this.#took(data, bytes);
  }

  /** @returns false when more bytes are needed. */
  #cutFrame(): boolean {
    const held = this.#end - this.#start;
    if (held < HEAD_BYTES) return false;
    const head = this.#head();
    if (head.type === FRAME.data) {
      this.#start += HEAD_BYTES;
      const rest = this.sink.dataTarget(head.tag, head.bodyBytes);
      if (rest !== null && rest.length !== head.bodyBytes) throw new RangeError('a target of another length');
      this.#data = { tag: head.tag, rest, left: head.bodyBytes };
      return true;
    }
    const bodyStart = this.#start + HEAD_BYTES;
    if (held < HEAD_BYTES + head.bodyBytes) {
      this.#makeRoom(HEAD_BYTES + head.bodyBytes);
      return false;
    }
    this.#start = bodyStart + head.bodyBytes;
    this.sink.onFrame(head, this.#scratch.subarray(bodyStart, this.#start));
    return true;
  }

  #head(): FrameHead {
    const length = this.#scratch.readUInt32BE(this.#start);
    const type = this.#scratch.readUInt8(this.#start + LENGTH_BYTES);
    const bodyBytes = length - (HEAD_BYTES - LENGTH_BYTES);
    if (bodyBytes < 0) throw broken('a frame has no head');
    if (!this.isTrusted && type !== FRAME.hello && type !== FRAME.refusal)
      throw broken('its first frame is no hello');
    const isData = type === FRAME.data;
    const most = !this.isTrusted ? MAX_HELLO_BYTES : isData ? MAX_DATA_BYTES : MAX_CONTROL_BYTES;
    if (bodyBytes > most || (isData && bodyBytes === 0)) throw broken(`a frame of ${bodyBytes} bytes`);
    return { type, tag: this.#scratch.readUInt32BE(this.#start + LENGTH_BYTES + 1), bodyBytes };
  }

  /** The frame at the start has this many bytes: they have to fit. */
  #makeRoom(frameBytes: number): void {
    if (frameBytes <= this.#scratch.length) return;
    const grown = Buffer.allocUnsafeSlow(frameBytes);
    this.#moveTo(grown);
  }

  /** What is not cut goes to the front, so that there is room behind it. */
  #tidy(): void {
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
      // A large frame is rare, and connections are many.
      if (this.#scratch.length > SCRATCH_BYTES) this.#scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
      return;
    }
    if (this.#start > 0) this.#moveTo(this.#scratch);
  }

  #moveTo(to: Buffer): void {
    this.#scratch.copy(to, 0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    this.#scratch = to;
  }
}
