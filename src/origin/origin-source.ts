import type { BlobAddress, OpenedRead, OpenOptions, PieceSource } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import { BlobBody, type Positioned } from './blob-body.ts';
import { parseContentLength, parseContentRange, rangeHeader } from './content-range.ts';
import type { RawHeaders } from './headers.ts';
import { type HttpClient, isFailure } from './http-client.ts';
import type { Release } from './limiter.ts';
import type { Limiters } from './limiters.ts';
import { MANIFEST_ACCEPT } from './manifest-accept.ts';
import { failureOf, HEAD_TIMEOUT_MS, type OriginClient, objectUrl, refuse } from './origin-client.ts';
import type { OriginDirectory } from './origin-directory.ts';
import { type Followed, follow, SignedUrls } from './redirects.ts';
import { abandoned, discard, emptyBody, type Reply } from './reply.ts';
import { backoffMs, pause, type RetryPolicy } from './retry.ts';

/** A body that is silent for so long is asked for anew, so that the new one may still come within 4 s of the last byte. */
const BODY_STALL_MS = 2_000;

/** What a registry says of a signed URL that has run out, each vendor its own. */
const EXPIRED: ReadonlySet<number> = new Set([400, 401, 403, 404, 410]);

export interface OriginSourceOptions {
  readonly directory: OriginDirectory;
  readonly http: HttpClient;
  readonly client: OriginClient;
  /** Slots for blob bodies. */
  readonly limiters: Limiters;
  readonly metrics: Metrics;
  readonly retry: RetryPolicy;
  readonly userAgent: string;
  readonly stallMs?: number | undefined;
  readonly signedUrls?: SignedUrls | undefined;
}

/** What one good head says: where its body starts and what the blob is. */
interface Opened extends Positioned {
  readonly end: number;
  readonly size: number;
  readonly mediaType: string | undefined;
}

/** The origin as a source of pieces: one request per read, resumed when it breaks off, redirects kept inside. */
export class OriginSource implements PieceSource {
  readonly name = 'origin';
  readonly #options: OriginSourceOptions;
  readonly #stallMs: number;
  readonly #signedUrls: SignedUrls;

  constructor(options: OriginSourceOptions) {
    this.#options = options;
    this.#stallMs = options.stallMs ?? BODY_STALL_MS;
    this.#signedUrls = options.signedUrls ?? new SignedUrls();
  }

  /**
   * @throws OriginRefusal for the origin's own 4xx; DamselflyError `range-not-satisfiable` with `facts.size`,
   * `origin-…` and `target-forbidden`; the signal's reason.
   */
  async open(blob: BlobAddress, span: Span, options: OpenOptions): Promise<OpenedRead> {
    if (blob.size !== undefined && span.start >= blob.size) throw pastEnd(blob.size);
    if (options.upstream.kind === 'manifest') return this.#openManifest(blob, span, options);
    const release = await this.#options.limiters.acquire(
      options.upstream.origin,
      options.urgency,
      options.signal,
    );
    let opened: Opened | undefined;
    try {
      opened = await this.#request(blob, span, options);
      return this.#read(blob, span, options, opened, release);
    } finally {
      if (opened === undefined) release();
    }
  }

  #read(blob: BlobAddress, span: Span, options: OpenOptions, opened: Opened, release: Release): OpenedRead {
    const { metrics, retry } = this.#options;
    const { size, mediaType } = opened;
    // A whole body (200) is read whole; of a part, the asked one, clipped at the blob's end.
    const whole = opened.start === 0 && opened.end === size;
    const delivered = whole ? { start: 0, end: size } : { start: span.start, end: Math.min(span.end, size) };
    const body = new BlobBody({
      span: delivered,
      first: opened,
      signal: options.signal,
      stallMs: this.#stallMs,
      reopen: async (offset, stuck) => {
        metrics.originRetries.inc({ reason: 'body' });
        await pause(retry, backoffMs(retry, stuck), options.signal);
        const rest = { start: offset, end: delivered.end };
        return this.#request({ digest: blob.digest, size }, rest, { ...options, isCheck: false });
      },
      onClose: release,
    });
    return { info: { size, mediaType }, span: delivered, chunks: body, close: () => body.close() };
  }

  async #openManifest(blob: BlobAddress, span: Span, options: OpenOptions): Promise<OpenedRead> {
    const { upstream, signal, urgency } = options;
    const accept = [MANIFEST_ACCEPT];
    const manifest = await this.#options.client.getManifest(upstream, blob.digest, {
      signal,
      urgency,
      accept,
    });
    const size = manifest.body.length;
    if (span.start > 0 && span.start >= size) throw pastEnd(size);
    return {
      info: { size, mediaType: manifest.header('content-type') },
      span: { start: 0, end: size },
      chunks: (async function* () {
        signal.throwIfAborted();
        if (size > 0) yield manifest.body;
      })(),
      close() {
        // Nothing is open: the body is in memory.
      },
    };
  }

  /** One head that is right for `span`, at the signed URL that is known or by asking the registry. */
  async #request(blob: BlobAddress, span: Span, options: OpenOptions): Promise<Opened> {
    // A plain GET is what every registry and cache in front of one knows; Range only where a part is wanted.
    const plain = span.start === 0 && span.end === Number.POSITIVE_INFINITY;
    const first = await this.#ask(blob, plain ? undefined : span, options);
    const opened = await understand(first, blob, span);
    if (opened !== 'unknown-size') return opened;
    // A body of unknown length: a range tells the size.
    const second = await understand(await this.#ask(blob, span, options), blob, span);
    if (second !== 'unknown-size') return second;
    throw broken('The origin tells neither the length of a blob nor takes a range of it', first);
  }

  async #ask(blob: BlobAddress, range: Span | undefined, options: OpenOptions): Promise<Reply> {
    const { upstream } = options;
    const url = objectUrl(this.#options.directory, upstream, blob.digest);
    // A signed URL lets anybody in: it says nothing of this credential.
    const signed = options.isCheck === true ? undefined : this.#signedUrls.get(upstream, blob.digest);
    if (signed !== undefined) {
      const reply = await this.#useSigned(signed, url, range, blob, options);
      if (reply !== undefined) {
        await refuseUnlessRange(reply);
        return reply;
      }
    }
    const { reply, url: at, moved } = await this.#follow(url, url, range, options);
    await refuseUnlessRange(reply);
    if (isFailure(reply.status)) {
      discard(reply.body);
      throw failureOf(reply, upstream);
    }
    if (moved) this.#signedUrls.set(upstream, blob.digest, at);
    return reply;
  }

  /** @returns undefined when the URL has run out; it is forgotten then, and also when its store fails. */
  async #useSigned(
    signed: string,
    home: string,
    range: Span | undefined,
    blob: BlobAddress,
    options: OpenOptions,
  ): Promise<Reply | undefined> {
    let good = false;
    try {
      const { reply } = await this.#follow(signed, home, range, options);
      good = !EXPIRED.has(reply.status) && !isFailure(reply.status);
      if (good) return reply;
      discard(reply.body);
      if (isFailure(reply.status)) throw failureOf(reply, options.upstream);
      return undefined;
    } finally {
      if (!good && !options.signal.aborted) this.#signedUrls.forget(options.upstream, blob.digest);
    }
  }

  #follow(url: string, home: string, range: Span | undefined, options: OpenOptions): Promise<Followed> {
    const { http, metrics, userAgent } = this.#options;
    const { signal, upstream, urgency } = options;
    const common = ['user-agent', userAgent, 'accept', '*/*', 'accept-encoding', 'identity'];
    if (range !== undefined) common.push('range', rangeHeader(range));
    const credential = Object.entries(upstream.credential.headers()).flat();
    const ask = (at: string, headers: RawHeaders): Promise<Reply> =>
      http.sendRetrying(
        {
          method: 'GET',
          url: at,
          headers,
          signal,
          headTimeoutMs: HEAD_TIMEOUT_MS,
          onReceived: (bytes) => metrics.traffic.received('origin', bytes),
        },
        urgency,
      );
    return follow(url, { common, credential, home }, ask);
  }
}

/** A 416 is an answer about the blob and not about the requester; every other 4xx is passed on. */
async function refuseUnlessRange(reply: Reply): Promise<void> {
  if (reply.status !== 416) await refuse(reply);
}

/** Checks a head against what was asked. Whatever is wrong drops the connection before a byte of it is used. */
async function understand(reply: Reply, blob: BlobAddress, span: Span): Promise<Opened | 'unknown-size'> {
  const encoding = reply.header('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity' && reply.status < 300) {
    throw broken('The origin encoded a blob that was asked for as it is', reply, {
      contentEncoding: encoding,
    });
  }
  const mediaType = reply.header('content-type');
  switch (reply.status) {
    case 206:
      return { ...partOf(reply, blob, span), body: reply.body, mediaType };
    case 200: {
      const size = parseContentLength(reply.header('content-length')) ?? blob.size;
      if (size === undefined) {
        reply.body.destroy(abandoned());
        return 'unknown-size';
      }
      checkSize(size, blob, reply);
      if (span.start > 0 && span.start >= size) {
        reply.body.destroy(abandoned());
        throw pastEnd(size);
      }
      return { start: 0, end: size, size, body: reply.body, mediaType };
    }
    case 416:
      return unsatisfied(reply, blob, span);
    default:
      throw broken(`The origin answered a blob with ${reply.status}`, reply);
  }
}

function partOf(reply: Reply, blob: BlobAddress, span: Span): { start: number; end: number; size: number } {
  const range = parseContentRange(reply.header('content-range'));
  if (range === null || range.span === null || range.size === undefined) {
    throw broken('The origin sent a part without saying which one of how many bytes', reply);
  }
  const { start, end } = range.span;
  if (start !== span.start || end > span.end)
    throw broken('The origin sent another range than was asked', reply);
  checkSize(range.size, blob, reply);
  const length = parseContentLength(reply.header('content-length'));
  if (length !== undefined && length !== end - start) {
    throw broken('The origin announced two different lengths of a part', reply);
  }
  return { start, end, size: range.size };
}

function unsatisfied(reply: Reply, blob: BlobAddress, span: Span): Opened {
  const size = parseContentRange(reply.header('content-range'))?.size;
  const empty = size === 0 && span.start === 0;
  if (size !== undefined && !empty && span.start < size) {
    throw broken('The origin refused a range that lies inside of the blob', reply);
  }
  if (size !== undefined) checkSize(size, blob, reply);
  else if (blob.size !== undefined && span.start < blob.size) {
    throw broken('The origin refused a range that lies inside of the blob', reply);
  }
  discard(reply.body);
  if (!empty) throw pastEnd(size);
  return { start: 0, end: 0, size: 0, body: emptyBody(), mediaType: undefined };
}

function checkSize(size: number, blob: BlobAddress, reply: Reply): void {
  if (blob.size === undefined || blob.size === size) return;
  throw broken('The origin names another size of the blob than before', reply, { size, before: blob.size });
}

function broken(message: string, reply: Reply, facts: Record<string, string | number> = {}): DamselflyError {
  reply.body.destroy(abandoned());
  return new DamselflyError('origin-broken', message, {
    facts: { ...facts, originStatus: reply.status, permanent: true },
  });
}

function pastEnd(size: number | undefined): DamselflyError {
  return new DamselflyError('range-not-satisfiable', 'The range starts at or past the end of the blob', {
    facts: { size },
  });
}
