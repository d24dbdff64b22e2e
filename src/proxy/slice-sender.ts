import { read, readSync } from 'node:fs';
import { constants } from 'node:os';
import type { FileSlice } from '../blob/source.ts';
import { type BodyEnded, clientGone, sourceFailed, stalled } from './body-ended.ts';
import type { BufferPool } from './buffer-pool.ts';
import type { ClientStream } from './client-stream.ts';
import type { Sendfile } from './sendfile.ts';

const { EAGAIN, EINTR, EINVAL, ENOSYS, EPIPE, ECONNRESET, ENOTCONN } = constants.errno;

/** Up to here one read and one write with the head cost less than the head, and then sendfile (dataplane-lab.md 2.2). */
const SMALL_BYTES = 16 << 10;
/** Written through the socket when it is full, to learn when it is writable again (dataplane-lab.md 2.4: 16 KiB). */
const PROBE_BYTES = 16 << 10;

export interface SliceOptions {
  readonly sendfile: Sendfile | null;
  readonly buffers: BufferPool;
  /** Milliseconds that one read of the disk may take. */
  readonly readTimeoutMs: number;
}

/**
 * Sends a slice of a file, and gives it back, whatever happens, once nothing reads from it any more.
 * @param last ends the response where that comes for free, with a small slice.
 */
export async function sendSlice(
  stream: ClientStream,
  slice: FileSlice,
  last: boolean,
  options: SliceOptions,
): Promise<void> {
  const sender = new SliceSender(stream, slice, options);
  try {
    if (slice.length <= SMALL_BYTES) {
      await stream.write(sender.readNow(slice.length), last);
      return;
    }
    if (options.sendfile !== null && stream.isPlain) await sender.sendDirectly(options.sendfile);
    await sender.sendCopied();
  } finally {
    sender.release();
  }
}

class SliceSender {
  readonly #stream: ClientStream;
  readonly #slice: FileSlice;
  readonly #options: SliceOptions;
  readonly #end: number;
  #offset: number;
  #probe: Buffer | undefined;
  #reading: Promise<unknown> | undefined;

  constructor(stream: ClientStream, slice: FileSlice, options: SliceOptions) {
    this.#stream = stream;
    this.#slice = slice;
    this.#options = options;
    this.#offset = slice.offset;
    this.#end = slice.offset + slice.length;
  }

  /**
   * sendfile(2) until the socket is full; then one small chunk goes through the stream, whose callback tells that
   * there is room again. Each call is made in the tick in which the descriptor was looked up, so it cannot have been
   * closed and taken by another connection in between. What is left when this returns must be copied.
   */
  async sendDirectly(sendfile: Sendfile): Promise<void> {
    this.#stream.flushHead();
    while (this.#offset < this.#end) {
      const fd = this.#stream.directFd();
      const wanted = Math.min(this.#end - this.#offset, this.#stream.untilTurn);
      const sent = fd === undefined ? -EAGAIN : sendfile(fd, this.#slice.fd, this.#offset, wanted);
      if (sent > 0) {
        this.#offset += sent;
        this.#stream.sentDirectly(sent);
        await this.#stream.giveTurn();
        if (sent === wanted) continue;
      } else if (sent === -EINTR) continue;
      // The file system has no sendfile (some FUSE ones).
      else if (sent === -EINVAL || sent === -ENOSYS) return;
      else if (sent !== -EAGAIN) throw failure(sent);
      await this.#writeProbe();
    }
  }

  /** Reads ahead by one buffer while the one before is written. Reads go to the thread pool: the disk may be slow. */
  async sendCopied(): Promise<void> {
    if (this.#offset === this.#end) return;
    const { buffers } = this.#options;
    let buffer = buffers.take();
    let spare = buffers.take();
    let filled = await this.#finishRead(this.#startRead(buffer, this.#offset));
    while (this.#offset < this.#end) {
      const next = this.#offset + filled;
      const ahead = next < this.#end ? this.#startRead(spare, next) : undefined;
      await this.#stream.write(buffer.subarray(0, filled), false);
      this.#offset = next;
      [buffer, spare] = [spare, buffer];
      filled = ahead === undefined ? 0 : await this.#finishRead(ahead);
    }
    // After a failure they are left to the collector: the socket or the disk may still be at work on them.
    buffers.give(buffer);
    buffers.give(spare);
  }

  /** Pages of a slice are believed resident: a small read is cheaper than a trip to the thread pool. */
  readNow(length: number): Buffer {
    const buffer = Buffer.allocUnsafe(length);
    this.#fill(buffer);
    return buffer;
  }

  /** Gives the slice back once no read uses its descriptor; does not keep anybody waiting for a hung disk. */
  release(): void {
    if (this.#reading === undefined) this.#slice.release();
    else void this.#reading.then(() => this.#slice.release());
  }

  async #writeProbe(): Promise<void> {
    this.#probe ??= Buffer.allocUnsafeSlow(PROBE_BYTES);
    const chunk = this.#probe.subarray(0, Math.min(PROBE_BYTES, this.#end - this.#offset));
    this.#fill(chunk);
    this.#offset += chunk.length;
    await this.#stream.write(chunk, false);
  }

  #fill(buffer: Buffer): void {
    let length: number;
    try {
      length = readSync(this.#slice.fd, buffer, 0, buffer.length, this.#offset);
    } catch (cause) {
      throw diskFailed(cause);
    }
    if (length !== buffer.length) throw shortFile();
  }

  #startRead(buffer: Buffer, offset: number): Promise<number | Error> {
    const wanted = Math.min(buffer.length, this.#end - offset);
    const reading = new Promise<number | Error>((resolve) => {
      read(this.#slice.fd, buffer, 0, wanted, offset, (error, length) => {
        if (error !== null) resolve(diskFailed(error));
        else resolve(length === 0 ? shortFile() : length);
      });
    });
    this.#reading = reading;
    return reading;
  }

  async #finishRead(reading: Promise<number | Error>): Promise<number> {
    const result = await this.#stream.waits.wait<number | Error>((resolve) => void reading.then(resolve), {
      ms: this.#options.readTimeoutMs,
      reached: () => stalled('The disk did not answer in time'),
    });
    this.#reading = undefined;
    if (typeof result !== 'number') throw result;
    return result;
  }
}

function shortFile(): BodyEnded {
  return sourceFailed('store-corrupt', 'A cached file is shorter than its pieces');
}

function diskFailed(cause: unknown): BodyEnded {
  return sourceFailed('store-corrupt', 'A cached file could not be read', cause);
}

function failure(sent: number): BodyEnded {
  if (sent === 0) return shortFile();
  const cause = new Error(`sendfile: errno ${-sent}`);
  if (sent === -EPIPE || sent === -ECONNRESET || sent === -ENOTCONN)
    return clientGone('the connection broke while it was written to', cause);
  return diskFailed(cause);
}
