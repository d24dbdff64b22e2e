import { type Digest, digestAlgorithm } from '../../blob/digest.ts';
import type { Span } from '../../blob/span.ts';
import { DamselflyError } from '../../errors.ts';
import { parseContentLength, parseContentRange, rangeHeader } from '../../origin/content-range.ts';
import { ExchangeFailure } from '../../origin/exchange.ts';
import type { RawHeaders } from '../../origin/headers.ts';
import type { Reply } from '../../origin/reply.ts';
import type { Progress } from '../progress.ts';
import { isRetryable, OriginSaid, refusalOf, retryAfterMs } from './answers.ts';
import { chunksOf, pick } from './body.ts';
import { type Answer, type Fetcher, pause, type Through } from './fetcher.ts';
import { PartialFile } from './partial-file.ts';
import type { ObjectTarget, RegistryTarget } from './target.ts';
import { isSuffix, type WantedRange } from './wanted-range.ts';

/** Tries in a row that brought no byte. */
const MAX_IDLE_TRIES = 6;
/** The same when not even a connection came about: a wrong name or port shows at once. */
const MAX_CONNECT_TRIES = 3;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 5_000;
/** So many fruitless tries in a row through the node, and it is left for the origin itself. */
const NODE_FAILURES = 2;

export interface DownloadOptions {
  readonly fetcher: Fetcher;
  readonly target: RegistryTarget | ObjectTarget;
  readonly output: string;
  readonly range: WantedRange;
  /** What the written bytes must have. */
  readonly digest: Digest | undefined;
  readonly progress: Progress;
  readonly notify: (message: string) => void;
  readonly signal: AbortSignal;
}

export interface Downloaded {
  readonly bytes: number;
  /** How many of them were there from an interrupted run. */
  readonly resumedBytes: number;
  /** Of what was written. */
  readonly digest: string;
  readonly verified: boolean;
  readonly through: Through;
  /** `X-Damselfly-Source` of the last answer; the origin when it was asked directly. */
  readonly source: string;
}

/**
 * Downloads into FILE.partial, going on where it broke off, in this run and in a later one; then checks and renames.
 * @throws DamselflyError: the target's refusal, digest-mismatch (nothing is left then), output-failed, or what the last
 * try failed with. The signal's reason when it is aborted, with the partial file kept where it can be continued.
 */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const { digest, progress } = options;
  const file = await PartialFile.open(options.output, {
    subject: JSON.stringify([digest ?? urlOf(options.target), options.range]),
    algorithm: digest === undefined ? 'sha256' : digestAlgorithm(digest),
    hasDigest: digest !== undefined,
  });
  const run = new Run(options, file);
  try {
    await run.toTheEnd();
    if (digest !== undefined && file.digest() !== digest && run.resumedBytes > 0) {
      await run.startOver('what an interrupted run left does not fit');
      await run.toTheEnd();
    }
    if (digest !== undefined && file.digest() !== digest) throw mismatch(digest, file.digest());
    await file.finish();
  } catch (error) {
    const isWrong = error instanceof DamselflyError && error.code === 'digest-mismatch';
    if (isWrong || file.bytes === 0 || !run.canGoOn) await file.discard();
    throw error;
  } finally {
    progress.end();
  }
  return {
    bytes: file.bytes,
    resumedBytes: run.resumedBytes,
    digest: file.digest(),
    verified: digest !== undefined,
    ...run.origin,
  };
}

/** The tries of one download. */
class Run {
  resumedBytes: number;
  origin: { through: Through; source: string } = { through: 'direct', source: 'origin' };
  readonly #options: DownloadOptions;
  readonly #file: PartialFile;
  #begun = false;

  constructor(options: DownloadOptions, file: PartialFile) {
    this.#options = options;
    this.#file = file;
    this.resumedBytes = file.bytes;
  }

  /** Without a digest, only a validator tells that the rest is of the same target. */
  get canGoOn(): boolean {
    return this.#options.digest !== undefined || this.#file.etag !== null;
  }

  async toTheEnd(): Promise<void> {
    const { signal, fetcher, notify, target } = this.#options;
    let idleTries = 0;
    let nodeFailures = 0;
    while (!this.#isComplete) {
      if (this.#file.bytes > 0 && !this.canGoOn) await this.startOver('nothing tells whether it is the same');
      const before = this.#file.bytes;
      let through: Through | undefined;
      try {
        const answer = await fetcher.open(target, this.#requestLines(), signal);
        through = answer.through;
        await this.#take(answer);
        return;
      } catch (error) {
        signal.throwIfAborted();
        const moved = this.#file.bytes > before;
        idleTries = moved ? 0 : idleTries + 1;
        nodeFailures = through === 'node' && !moved ? nodeFailures + 1 : 0;
        const isLast = idleTries >= (isUnreachable(error) ? MAX_CONNECT_TRIES : MAX_IDLE_TRIES);
        if (isLast || !isRetryable(error)) throw explained(error, target);
        if (nodeFailures >= NODE_FAILURES) fetcher.leaveNode('broke off repeatedly');
        if (moved) notify(`the transfer broke off after ${this.#file.bytes} bytes; going on from there`);
        await pause(Math.max(retryAfterMs(error), pauseMs(idleTries)), signal);
      }
    }
  }

  async startOver(why: string): Promise<void> {
    this.#options.notify(`${why}; starting over`);
    this.resumedBytes = 0;
    await this.#file.restart();
  }

  get #isComplete(): boolean {
    const { bytes, span } = this.#file;
    return bytes > 0 && bytes === span.end - span.start;
  }

  /** Range for what is missing; none for a whole target from its beginning, so that the answer is a plain 200. */
  #requestLines(): RawHeaders {
    const { range, digest } = this.#options;
    const { bytes, etag, span } = this.#file;
    if (bytes === 0 && isSuffix(range)) return ['Range', `bytes=-${range.last}`];
    const wanted = bytes === 0 && !isSuffix(range) ? range : span;
    if (bytes === 0 && wanted.start === 0 && wanted.end === Number.POSITIVE_INFINITY) return [];
    const lines = ['Range', rangeHeader({ start: wanted.start + bytes, end: wanted.end })];
    // RFC 9110 §13.1.5: the rest of the same target, or the whole of a changed one.
    if (bytes > 0 && digest === undefined && etag !== null) lines.push('If-Range', etag);
    return lines;
  }

  /** Returns when all bytes are here. @throws to try again, or for good. */
  async #take({ reply, through }: Answer): Promise<void> {
    try {
      this.origin = { through, source: reply.header('x-damselfly-source') ?? 'origin' };
      if (reply.status === 416) return await this.#unsatisfied(reply);
      if (reply.status !== 200 && reply.status !== 206) throw await refusalOf(reply, this.#options.target);
      const { wanted, skip, take } = await this.#place(reply);
      this.#begin(wanted);
      await this.#file.append(this.#counted(pick(chunksOf(reply), skip, take)));
      const missing = wanted.end - wanted.start - this.#file.bytes;
      if (Number.isFinite(missing) && missing > 0)
        throw new OriginSaid('the body ended early', { retryable: true });
    } finally {
      reply.body.destroy(new DOMException('done', 'AbortError'));
    }
  }

  /** Finds where in the target the body lies, and what of it is to be written. Starts over when the target changed. */
  async #place(reply: Reply): Promise<{ wanted: Span; skip: number; take: number }> {
    const { range, digest } = this.#options;
    const etag = strongEtag(reply);
    const isOther = digest === undefined && this.#file.bytes > 0 && this.#file.etag !== etag;
    if (isOther) await this.startOver('the target is not what it was');
    const given = bodySpan(reply);
    const wanted = resolve(this.#file.bytes > 0 ? this.#file.span : range, given.size, given.span);
    const at = wanted.start + this.#file.bytes;
    // Of a target that changed under us, a part may have come where its beginning is needed now.
    if (given.span.start > at)
      throw new OriginSaid('the answer does not begin where it was asked to', { retryable: isOther });
    await this.#file.describe(wanted, etag);
    return { wanted, skip: at - given.span.start, take: wanted.end - at };
  }

  /** 416 in the middle of a download: everything is here, or the target became another. */
  async #unsatisfied(reply: Reply): Promise<void> {
    const size = parseContentRange(reply.header('content-range'))?.size;
    const { bytes, span } = this.#file;
    if (bytes > 0 && size === span.start + bytes) return;
    if (bytes === 0) throw pastTheEnd(size);
    await this.startOver('the target became shorter');
    throw new OriginSaid('the target became shorter', { retryable: true });
  }

  #begin(wanted: Span): void {
    const { progress, target } = this.#options;
    const total = Number.isFinite(wanted.end) ? wanted.end - wanted.start : undefined;
    if (this.#begun) progress.update(this.#file.bytes, total);
    else progress.begin(shortName(target), total, this.#file.bytes);
    this.#begun = true;
  }

  async *#counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let { bytes } = this.#file;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      this.#options.progress.update(bytes);
      yield chunk;
    }
  }
}

/** Where a 200's or 206's body lies in the target. */
function bodySpan(reply: Reply): { span: Span; size: number | undefined } {
  if (reply.status === 200) {
    const size = parseContentLength(reply.header('content-length'));
    return { span: { start: 0, end: size ?? Number.POSITIVE_INFINITY }, size };
  }
  const range = parseContentRange(reply.header('content-range'));
  if (range?.span == null)
    throw new OriginSaid('it answered 206 without saying which part that is', { retryable: false });
  return { span: range.span, size: range.size };
}

/** What is wanted, in the target's own offsets; its end stays Infinity where nobody knows it. */
function resolve(range: WantedRange, size: number | undefined, given: Span): Span {
  if (isSuffix(range))
    return size === undefined ? given : { start: Math.max(0, size - range.last), end: size };
  const end = Math.min(range.end, size ?? Number.POSITIVE_INFINITY);
  if (range.start > 0 && range.start >= end) throw pastTheEnd(size);
  return { start: range.start, end };
}

/** RFC 9110 §8.8.3: weak ones say nothing about single bytes. */
function strongEtag(reply: Reply): string | null {
  const etag = reply.header('etag');
  return etag === undefined || !/^"[\x21\x23-\x7e\x80-\xff]*"$/.test(etag) ? null : etag;
}

function pauseMs(tries: number): number {
  const whole = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, tries - 1));
  return whole * (0.5 + Math.random() / 2);
}

function isUnreachable(error: unknown): boolean {
  return error instanceof ExchangeFailure && error.kind === 'connect';
}

function explained(error: unknown, target: RegistryTarget | ObjectTarget): unknown {
  const isOurs = error instanceof OriginSaid || error instanceof ExchangeFailure;
  return isOurs ? OriginSaid.explain(error, new URL(urlOf(target)).host) : error;
}

function urlOf(target: RegistryTarget | ObjectTarget): string {
  return target.kind === 'registry' ? `${target.origin}${target.path}` : target.url.href;
}

/** For a line of progress: a digest's beginning, or a URL's last part. */
function shortName(target: RegistryTarget | ObjectTarget): string {
  if (target.kind === 'registry' && target.digest !== undefined) return target.digest.slice(0, 19);
  const path = target.kind === 'registry' ? target.path : target.url.pathname;
  return path.replace(/\?.*$/s, '').replace(/\/+$/, '').split('/').at(-1) || new URL(urlOf(target)).host;
}

function pastTheEnd(size: number | undefined): DamselflyError {
  const bytes = size === undefined ? '' : `: it has ${size} bytes`;
  return new DamselflyError(
    'range-not-satisfiable',
    `the range starts past the end${bytes}. Choose another --range`,
  );
}

function mismatch(expected: string, found: string): DamselflyError {
  return new DamselflyError(
    'digest-mismatch',
    `the bytes are ${found} and not ${expected}; nothing was kept. Check the digest; if it is right, the origin's copy is damaged`,
    { facts: { expected, found } },
  );
}
