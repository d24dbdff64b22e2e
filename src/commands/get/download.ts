import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { blobHash, type Digest, digestAlgorithm } from '../../blob/digest.ts';
import { DamselflyError } from '../../errors.ts';
import { parseContentLength, parseContentRange, rangeHeader } from '../../origin/content-range.ts';
import { ExchangeFailure } from '../../origin/exchange.ts';
import { discard, type Reply } from '../../origin/reply.ts';
import { systemCode } from '../failure.ts';
import type { Progress } from '../progress.ts';
import { type Fetcher, pause, type Through } from './fetcher.ts';
import { refused } from './image.ts';
import { type ObjectTarget, type RegistryTarget, withoutSecrets } from './target.ts';
import { isSuffix, type WantedRange } from './wanted-range.ts';

/** Tries in a row that bring no byte. */
const MAX_FRUITLESS_TRIES = 5;
const RETRY_MS = 300;
/** A body without a byte for so long is dropped and asked for again. */
const STALL_MS = 15_000;
const COPY_BYTES = 1 << 20;

export interface DownloadOptions {
  readonly fetcher: Fetcher;
  readonly target: RegistryTarget | ObjectTarget;
  readonly output: string;
  readonly range: WantedRange;
  /** Of the whole; undefined: nothing to check against. */
  readonly digest: Digest | undefined;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export interface Downloaded {
  readonly bytes: number;
  /** Bytes that an earlier, interrupted download had left. */
  readonly resumed: number;
  /** Of what was written. */
  readonly digest: string;
  readonly verified: boolean;
  readonly through: Through;
  /** X-Damselfly-Source, when a node said it. */
  readonly source: string | undefined;
}

/**
 * Downloads into `<output>.partial` and renames it when all is there and right: the final name never holds a part.
 * With a digest an interrupted download is resumed by the next run; without one only within this run, under If-Range.
 * @throws DamselflyError digest-mismatch (the partial file is removed), output-failed, origin-refused …
 */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const partial = `${options.output}.partial`;
  const file = await open(partial, options.digest === undefined ? 'w+' : 'a+').catch((cause: unknown) => {
    throw outputFailed(partial, cause);
  });
  try {
    const result = await new Download(file, options).run();
    await file.close();
    await rename(partial, options.output).catch((cause: unknown) => {
      throw outputFailed(options.output, cause);
    });
    return result;
  } catch (error) {
    await file.close().catch(() => undefined);
    const isUseless =
      options.digest === undefined || (error instanceof DamselflyError && error.code === 'digest-mismatch');
    if (isUseless) await rm(partial, { force: true });
    throw error;
  }
}

class Download {
  readonly #file: FileHandle;
  readonly #options: DownloadOptions;
  #hash: Hash;
  #position = 0;
  #resumed = 0;
  #etag: string | undefined;
  #through: Through = 'direct';
  #source: string | undefined;
  #begun = false;
  #total: number | undefined;

  constructor(file: FileHandle, options: DownloadOptions) {
    this.#file = file;
    this.#options = options;
    this.#hash = this.#freshHash();
  }

  async run(): Promise<Downloaded> {
    await this.#hashWhatIsThere();
    for (let fruitless = 0; ; ) {
      const before = this.#position;
      try {
        if (await this.#attempt()) break;
      } catch (error) {
        this.#options.signal.throwIfAborted();
        if (!(error instanceof ExchangeFailure) && !isLostBody(error)) throw error;
        fruitless = this.#position > before ? 0 : fruitless + 1;
        if (fruitless > MAX_FRUITLESS_TRIES) throw error;
        if (fruitless > 1) this.#options.fetcher.leaveNode('broke off repeatedly');
        await pause(RETRY_MS * 2 ** fruitless, this.#options.signal);
      }
    }
    return this.#conclude();
  }

  /** @returns true when everything is here. */
  async #attempt(): Promise<boolean> {
    const { fetcher, target, signal, range } = this.#options;
    const { reply, through } = await fetcher.open(target, this.#headers(), signal);
    this.#through = through;
    this.#source = reply.header('x-damselfly-source');
    try {
      if (reply.status === 416 && this.#position > 0 && !isSuffix(range)) {
        const size = parseContentRange(reply.header('content-range'))?.size;
        if (size === range.start + this.#position) return true;
      }
      if (reply.status !== 200 && reply.status !== 206) throw refused(reply, nameOf(target));
      const wanted = await this.#expect(reply);
      this.#etag ??= strongTag(reply.header('etag'));
      await this.#copy(reply, wanted);
      return true;
    } finally {
      discard(reply.body);
    }
  }

  #headers(): string[] {
    const { range } = this.#options;
    if (isSuffix(range)) return ['Range', `bytes=-${range.last}`];
    const start = range.start + this.#position;
    if (start === 0 && !Number.isFinite(range.end)) return [];
    const lines = ['Range', rangeHeader({ start, end: range.end })];
    if (this.#position > 0 && this.#etag !== undefined) lines.push('If-Range', this.#etag);
    return lines;
  }

  /** @returns body bytes that must come; undefined when the answer does not say. Starts over where it has to. */
  async #expect(reply: Reply): Promise<number | undefined> {
    const { range, progress } = this.#options;
    const length = parseContentLength(reply.header('content-length'));
    if (reply.status === 200) {
      if (isSuffix(range) || range.start > 0 || Number.isFinite(range.end)) {
        throw new DamselflyError(
          'origin-broken',
          'The origin ignores Range, so a part of the file cannot be had: leave --range out',
        );
      }
      if (this.#position > 0) await this.#startOver();
      this.#total = length;
    } else {
      const got = parseContentRange(reply.header('content-range'));
      const start = isSuffix(range) ? got?.span?.start : range.start + this.#position;
      if (got?.span == null || got.span.start !== start)
        throw new DamselflyError('origin-broken', 'The origin sent another range than was asked for');
      if (isSuffix(range) && this.#position > 0) await this.#startOver();
      this.#total = this.#position + got.span.end - got.span.start;
    }
    if (!this.#begun) progress.begin(nameOf(this.#options.target), this.#total, this.#position);
    this.#begun = true;
    return this.#total === undefined ? undefined : this.#total - this.#position;
  }

  async #copy(reply: Reply, wanted: number | undefined): Promise<void> {
    const { signal, progress } = this.#options;
    let got = 0;
    for (;;) {
      signal.throwIfAborted();
      const chunk = reply.body.read();
      if (chunk === null) break;
      if (chunk === undefined) {
        await reply.body.wait(STALL_MS);
        continue;
      }
      await this.#write(chunk);
      got += chunk.length;
      progress.update(this.#position, this.#total);
    }
    if (wanted !== undefined && got !== wanted)
      throw new DamselflyError('origin-broken', 'The body ended early', { facts: { lost: true } });
  }

  async #write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk);
    try {
      for (let done = 0; done < chunk.length; ) {
        const { bytesWritten } = await this.#file.write(
          chunk,
          done,
          chunk.length - done,
          this.#position + done,
        );
        done += bytesWritten;
      }
    } catch (cause) {
      throw outputFailed(`${this.#options.output}.partial`, cause);
    }
    this.#position += chunk.length;
  }

  async #startOver(): Promise<void> {
    await this.#file.truncate(0);
    this.#hash = this.#freshHash();
    this.#position = 0;
    this.#resumed = 0;
  }

  async #hashWhatIsThere(): Promise<void> {
    const buffer = Buffer.alloc(COPY_BYTES);
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#position);
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#position += bytesRead;
    }
    this.#resumed = this.#position;
  }

  #conclude(): Downloaded {
    const { digest, target } = this.#options;
    const algorithm = digest === undefined ? 'sha256' : digestAlgorithm(digest);
    const found = `${algorithm}:${this.#hash.digest('hex')}`;
    if (digest !== undefined && found !== digest) {
      throw new DamselflyError(
        'digest-mismatch',
        `${nameOf(target)} has the digest ${found}, and not ${digest}: nothing was kept`,
      );
    }
    return {
      bytes: this.#position,
      resumed: this.#resumed,
      digest: found,
      verified: digest !== undefined,
      through: this.#through,
      source: this.#source,
    };
  }

  #freshHash(): Hash {
    const { digest } = this.#options;
    return digest === undefined ? createHash('sha256') : blobHash(digest);
  }
}

/** The body, or the connection under it, ended early: another try goes on where it ended. */
function isLostBody(error: unknown): boolean {
  if (error instanceof DamselflyError) return error.code === 'origin-timeout' || error.facts.lost === true;
  return error instanceof Error && !(error instanceof TypeError) && systemCode(error) !== undefined;
}

function strongTag(etag: string | undefined): string | undefined {
  return etag?.startsWith('"') === true ? etag : undefined;
}

function nameOf(target: RegistryTarget | ObjectTarget): string {
  return withoutSecrets(target.kind === 'registry' ? `${target.origin}${target.path}` : target.url.href);
}

function outputFailed(path: string, cause: unknown): DamselflyError {
  return new DamselflyError(
    'output-failed',
    `${path} cannot be written (${systemCode(cause) ?? 'unknown'}): choose another --output, or make room`,
    { cause },
  );
}
