import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import type { Span } from '../../blob/span.ts';
import { DamselflyError } from '../../errors.ts';
import { reasonOf, systemCode } from '../failure.ts';

/** What must be equal for a partial file to be continued. */
const stateShape = z.object({
  version: z.literal(1),
  /** Hash of the digest or URL, and of the range: the URL itself may hold a secret. */
  subject: z.string(),
  /** The strong validator of the bytes that are here (RFC 9110 §8.8.1); needed where no digest is known. */
  etag: z.string().nullable(),
  /** The resolved span of the target; a missing end is not known yet. */
  start: z.number(),
  end: z.number().nullable(),
  /** Who writes the file now, or did last. */
  pid: z.number(),
});
type State = z.output<typeof stateShape>;

/** Enough to write in big steps, little enough to hold. */
const WRITE_BUFFER_BYTES = 4 * 2 ** 20;

/**
 * The output while it is being written: `FILE.partial`, and `FILE.partial.state` that says what its bytes are. FILE
 * itself appears by a rename when everything is there and right.
 */
export class PartialFile {
  readonly output: string;
  readonly #partial: string;
  readonly #statePath: string;
  #state: State;
  #bytes = 0;
  #hash: Hash;
  readonly #algorithm: string;

  private constructor(output: string, state: State, algorithm: string) {
    this.output = output;
    this.#partial = `${output}.partial`;
    this.#statePath = `${output}.partial.state`;
    this.#state = state;
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  /**
   * Takes up what an interrupted run left behind, if it is of the same subject, and else begins at zero.
   * @param options.hasDigest without a digest to check at the end, only a strong validator lets a partial file be continued.
   * @throws DamselflyError output-failed.
   */
  static async open(
    output: string,
    options: { subject: string; algorithm: string; hasDigest: boolean },
  ): Promise<PartialFile> {
    const target = await checkOutput(output);
    const subject = createHash('sha256').update(options.subject).digest('hex');
    const fresh: State = { version: 1, subject, etag: null, start: 0, end: null, pid: process.pid };
    const file = new PartialFile(target, fresh, options.algorithm);
    return file.#guard(async () => {
      const found = await file.#readState();
      if (found !== undefined) refuseOtherWriter(found, file.#statePath);
      const isSame = found?.subject === subject && (options.hasDigest || found.etag !== null);
      if (isSame && (await file.#takeUp(found))) return file;
      await file.restart();
      return file;
    });
  }

  /** Bytes that are in the file, from the start of its span. */
  get bytes(): number {
    return this.#bytes;
  }

  get etag(): string | null {
    return this.#state.etag;
  }

  /** The span of the target that this file is to hold, as far as it is known; its end is Infinity until then. */
  get span(): Span {
    return { start: this.#state.start, end: this.#state.end ?? Number.POSITIVE_INFINITY };
  }

  /** Remembers what the target said of itself, so that a later run can go on. */
  async describe(span: Span, etag: string | null): Promise<void> {
    const end = Number.isFinite(span.end) ? span.end : null;
    this.#state = { ...this.#state, start: span.start, end, etag };
    await this.#guard(() => writeFile(this.#statePath, JSON.stringify(this.#state), { mode: 0o600 }));
  }

  /**
   * Appends chunks as they come. When `chunks` throws, what came before is in the file and counted, and the error is
   * thrown on.
   */
  async append(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    const count = async function* (this: PartialFile): AsyncGenerator<Uint8Array> {
      try {
        for await (const chunk of chunks) {
          this.#hash.update(chunk);
          this.#bytes += chunk.length;
          yield chunk;
        }
      } catch (error) {
        failure = { error };
      }
    }.bind(this);
    const sink = createWriteStream(this.#partial, {
      flags: 'r+',
      start: this.#bytes,
      highWaterMark: WRITE_BUFFER_BYTES,
    });
    await this.#guard(() => pipeline(count, sink));
    if (failure !== undefined) throw failure.error;
  }

  /** Throws away what is here. */
  async restart(): Promise<void> {
    this.#bytes = 0;
    this.#hash = createHash(this.#algorithm);
    this.#state = { ...this.#state, etag: null, end: null, start: 0 };
    await this.#guard(async () => {
      await (await open(this.#partial, 'w')).close();
    });
  }

  /** `algorithm:hex` of what is here. */
  digest(): string {
    return `${this.#algorithm}:${this.#hash.copy().digest('hex')}`;
  }

  /** FILE appears. */
  async finish(): Promise<void> {
    await this.#guard(async () => {
      await rename(this.#partial, this.output);
      await rm(this.#statePath, { force: true });
    });
  }

  async discard(): Promise<void> {
    await rm(this.#partial, { force: true });
    await rm(this.#statePath, { force: true });
  }

  async #readState(): Promise<State | undefined> {
    try {
      return stateShape.parse(JSON.parse(await readFile(this.#statePath, 'utf8')));
    } catch (error) {
      if (systemCode(error) === 'EACCES') throw error;
      return undefined;
    }
  }

  async #takeUp(found: State): Promise<boolean> {
    const size = await stat(this.#partial).then(
      (stats) => stats.size,
      () => 0,
    );
    if (size === 0 || (found.end !== null && size > found.end - found.start)) return false;
    for await (const chunk of createReadStream(this.#partial, { highWaterMark: 2 ** 20, end: size - 1 }))
      this.#hash.update(chunk);
    this.#bytes = size;
    this.#state = { ...found, pid: process.pid };
    await writeFile(this.#statePath, JSON.stringify(this.#state), { mode: 0o600 });
    return true;
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof DamselflyError) throw cause;
      throw outputFailed(`${this.output} cannot be written: ${reasonOf(cause)}`, cause);
    }
  }
}

/** @returns where the bytes shall really go: the file that a link points at. */
async function checkOutput(output: string): Promise<string> {
  if (output.endsWith('/')) throw outputFailed(`${output} is a folder; name a file`, undefined);
  let target = output;
  try {
    target = await realpath(output);
    const stats = await stat(target);
    if (!stats.isFile())
      throw outputFailed(
        `${output} is ${stats.isDirectory() ? 'a folder' : 'no regular file'}; name a file`,
        undefined,
      );
  } catch (cause) {
    if (cause instanceof DamselflyError) throw cause;
    if (systemCode(cause) !== 'ENOENT')
      throw outputFailed(`${output} cannot be written: ${reasonOf(cause)}`, cause);
  }
  return target;
}

/** Two writers of one partial file would leave a mixture. */
function refuseOtherWriter(state: State, path: string): void {
  if (state.pid === process.pid || !isAlive(state.pid)) return;
  throw outputFailed(
    `process ${state.pid} is downloading to this file already; wait for it, or remove ${path} if that is another program`,
    undefined,
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

function outputFailed(message: string, cause: unknown): DamselflyError {
  return new DamselflyError('output-failed', message, { cause });
}
