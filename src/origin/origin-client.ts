import { Readable } from 'node:stream';
import type { OriginId, Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import { DamselflyError, OriginRefusal } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import {
  announcesBody,
  forwardableHeaders,
  headerValue,
  type RawHeaders,
  withoutHopByHop,
} from './headers.ts';
import { type HttpClient, isFailure } from './http-client.ts';
import type { Release } from './limiter.ts';
import type { Limiters } from './limiters.ts';
import { MANIFEST_ACCEPT } from './manifest-accept.ts';
import type { OriginDirectory } from './origin-directory.ts';
import { follow } from './redirects.ts';
import { abandoned, discard, type Reply, readBody, readBodyStart, streamOf } from './reply.ts';

/** Manifests and everything passed through have this long to their head, since no fail-over may exist behind them. */
const FORWARD_HEAD_TIMEOUT_MS = 25_000;
/** Our own questions give up earlier, so that the answer that follows from it is still in time. */
export const HEAD_TIMEOUT_MS = 20_000;
/** The distribution specification has registries take manifests of 4 MiB at least; some take twice that. */
export const MAX_MANIFEST_BYTES = 8 << 20;
/** Of an error document. */
const MAX_REFUSAL_BYTES = 64 << 10;
/** Times that a manifest whose body breaks off is asked for again. */
const MANIFEST_TRIES = 3;

export interface AskOptions {
  readonly signal: AbortSignal;
  readonly urgency: Urgency;
  /** `Accept` lines, each sent as a line of its own. */
  readonly accept?: readonly string[] | undefined;
}

export interface Answer {
  readonly status: number;
  /** Without hop-by-hop headers. */
  readonly rawHeaders: RawHeaders;
  /** The first line of that name, in lower case. */
  header(name: string): string | undefined;
}

export interface HeadAnswer extends Answer {
  /** The origin refuses HEAD (405, 501), so this is the head of a `GET` of `bytes=0-0`. */
  readonly viaGet: boolean;
  /** The start of an error document, when there was one. */
  readonly body?: Uint8Array | undefined;
}

export interface ManifestAnswer extends Answer {
  readonly body: Buffer;
}

export interface ForwardAnswer extends Answer {
  /** Destroy it to drop the connection. */
  readonly body: Readable;
}

export interface ForwardOptions {
  readonly method: string;
  /** The client's header lines, repeats and order kept. */
  readonly rawHeaders: RawHeaders;
  /** The client's body; read only when the headers announce one, and never destroyed here. */
  readonly body?: Readable | undefined;
  readonly signal: AbortSignal;
  /** From the last byte of the request's body. */
  readonly headTimeoutMs?: number | undefined;
}

export interface OriginClientOptions {
  readonly directory: OriginDirectory;
  readonly http: HttpClient;
  /** Slots for our own questions, so that one of rights never waits behind a stream. */
  readonly limiters: Limiters;
  /** Slots for what is passed through, each held until its last byte. */
  readonly forwards: Limiters;
  readonly metrics: Metrics;
  readonly userAgent: string;
}

/** Questions to origins, answered by the origin's own word: heads, manifests, and whatever is passed through. */
export class OriginClient {
  readonly #options: OriginClientOptions;

  constructor(options: OriginClientOptions) {
    this.#options = options;
  }

  /**
   * The head of a blob or manifest. With `followRedirects: false` a 3xx is the answer (a yes, for rights: signed URLs
   * are often good for GET only).
   * @throws DamselflyError for no answer and for a 5xx; the signal's reason.
   */
  async head(
    upstream: Upstream,
    reference: string,
    options: AskOptions & { readonly followRedirects: boolean },
  ): Promise<HeadAnswer> {
    const { followRedirects } = options;
    const head = await this.#ask(upstream, reference, 'HEAD', [], options, followRedirects);
    head.body.destroy(abandoned());
    if (head.status !== 405 && head.status !== 501) return { ...answerOf(head), viaGet: false };
    const byte = await this.firstByte(upstream, reference, options);
    if (byte.status !== 416) return byte;
    // An empty blob has no byte 0; without a range its head says so.
    const whole = await this.#ask(upstream, reference, 'GET', [], options, followRedirects);
    return headOf(whole);
  }

  /** The head of a `GET` of `bytes=0-0`; a body that is not an error document is dropped. Throws as {@link head}. */
  async firstByte(
    upstream: Upstream,
    reference: string,
    options: AskOptions & { readonly followRedirects: boolean },
  ): Promise<HeadAnswer> {
    const range = ['range', 'bytes=0-0'];
    return headOf(await this.#ask(upstream, reference, 'GET', range, options, options.followRedirects));
  }

  /**
   * A manifest, whole.
   * @throws OriginRefusal for a 4xx; DamselflyError for no answer, a 5xx, an encoded or too long body.
   */
  async getManifest(
    upstream: Upstream,
    reference: string,
    options: AskOptions & { readonly maxBytes?: number | undefined },
  ): Promise<ManifestAnswer> {
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#ask(upstream, reference, 'GET', [], options, true);
      await refuse(reply);
      try {
        const body = await readManifest(reply, options.maxBytes ?? MAX_MANIFEST_BYTES);
        return { ...answerOf(reply), body };
      } catch (error) {
        options.signal.throwIfAborted();
        const lost = error instanceof DamselflyError && error.facts.permanent !== true;
        if (!lost || attempt >= MANIFEST_TRIES) throw error;
        this.#options.metrics.originRetries.inc({ reason: 'body' });
      }
    }
  }

  /** Passes a request on untouched: whatever the origin says is the answer, redirects and 5xx included. */
  forward(
    options: ForwardOptions & { readonly origin: OriginId; readonly pathAndQuery: string },
  ): Promise<ForwardAnswer> {
    const { baseUrl } = this.#options.directory.settings(options.origin);
    return this.#forward(`${baseUrl}${options.pathAndQuery}`, options);
  }

  /** The same for any absolute URL (see {@link OriginDirectory.target}). */
  forwardUrl(options: ForwardOptions & { readonly url: string }): Promise<ForwardAnswer> {
    return this.#forward(options.url, options);
  }

  async #forward(url: string, options: ForwardOptions): Promise<ForwardAnswer> {
    if (!URL.canParse(url)) throw new DamselflyError('request-malformed', 'The URL cannot be understood');
    const { http } = this.#options;
    const headTimeoutMs = options.headTimeoutMs ?? FORWARD_HEAD_TIMEOUT_MS;
    const release = await this.#forwardSlot(new URL(url).origin, headTimeoutMs, options.signal);
    let replied = false;
    try {
      const body = announcesBody(options.rawHeaders) ? options.body : undefined;
      const request = {
        isPassedThrough: true,
        method: options.method,
        url,
        headers: forwardableHeaders(options.rawHeaders),
        // The library destroys a body that it does not need any more, and the client's answer goes out on its socket.
        body: body && Readable.from(body.iterator({ destroyOnReturn: false }), { objectMode: false }),
        signal: options.signal,
        headTimeoutMs,
        onClose: release,
      };
      const safe = body === undefined && (options.method === 'GET' || options.method === 'HEAD');
      const reply = safe ? await http.sendReconnecting(request) : await http.send(request);
      replied = true;
      return { ...answerOf(reply), body: streamOf(reply.body) };
    } finally {
      if (!replied) release();
    }
  }

  /** @throws DamselflyError origin-busy when none comes free in time; the signal's reason. */
  async #forwardSlot(origin: string, timeoutMs: number, signal: AbortSignal): Promise<Release> {
    const late = new AbortController();
    const busy = new DamselflyError('origin-busy', `${origin} had no slot free within ${timeoutMs} ms`);
    const timer = setTimeout(() => late.abort(busy), timeoutMs);
    try {
      const either = AbortSignal.any([signal, late.signal]);
      return await this.#options.forwards.acquire(origin, new Urgency('demand'), either);
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(
    upstream: Upstream,
    reference: string,
    method: 'GET' | 'HEAD',
    extra: RawHeaders,
    options: AskOptions,
    followRedirects: boolean,
  ): Promise<Reply> {
    const { directory, http, limiters, userAgent, metrics } = this.#options;
    const url = objectUrl(directory, upstream, reference);
    // A question of ours, such as that for rights; what a client asks for goes out in its own words.
    const anyKind = upstream.kind === 'manifest' ? [MANIFEST_ACCEPT] : [];
    const accept = (options.accept ?? anyKind).flatMap((line) => ['accept', line]);
    const common = ['user-agent', userAgent, ...accept, 'accept-encoding', 'identity', ...extra];
    const release = await limiters.acquire(upstream.origin, options.urgency, options.signal);
    try {
      const ask = (at: string, headers: RawHeaders): Promise<Reply> =>
        http.sendRetrying(
          {
            method,
            url: at,
            headers,
            signal: options.signal,
            headTimeoutMs: HEAD_TIMEOUT_MS,
            onReceived: (bytes) => metrics.traffic.received('origin', bytes),
          },
          options.urgency,
        );
      const credential = Object.entries(upstream.credential.headers()).flat();
      const reply = followRedirects
        ? (await follow(url, { common, credential, home: url }, ask)).reply
        : await ask(url, [...common, ...credential]);
      if (isFailure(reply.status)) {
        discard(reply.body);
        throw failureOf(reply, upstream);
      }
      return reply;
    } finally {
      // What follows the head is small; the slot is for questions under way.
      release();
    }
  }
}

/** Where a blob or manifest of an upstream lies at its origin. */
export function objectUrl(directory: OriginDirectory, upstream: Upstream, reference: string): string {
  const { baseUrl } = directory.settings(upstream.origin);
  const folder = upstream.kind === 'blob' ? 'blobs' : 'manifests';
  const path = `/v2/${upstream.repository}/${folder}/${reference}`;
  if (/[^!-~]|[?#\\]|\/\.{1,2}(\/|$)/.test(path)) {
    throw new DamselflyError(
      'request-malformed',
      'The repository or reference has characters that no path may have',
    );
  }
  return `${baseUrl}${path}`;
}

/** @throws OriginRefusal for a 4xx. */
export async function refuse(reply: Reply): Promise<void> {
  if (reply.status < 400 || reply.status >= 500) return;
  const body = await readBodyStart(reply.body, MAX_REFUSAL_BYTES);
  throw new OriginRefusal(reply.status, withoutHopByHop(reply.rawHeaders), body);
}

export function failureOf(reply: Reply, upstream: Upstream): DamselflyError {
  const facts = { origin: upstream.origin, originStatus: reply.status };
  return reply.header('retry-after') === undefined
    ? new DamselflyError('origin-broken', `The origin answered ${reply.status}`, { facts })
    : new DamselflyError('origin-busy', `The origin answered ${reply.status} and asked to be left alone`, {
        facts,
      });
}

function answerOf(reply: Reply): Answer {
  const rawHeaders = withoutHopByHop(reply.rawHeaders);
  return { status: reply.status, rawHeaders, header: (name) => headerValue(rawHeaders, name) };
}

async function headOf(reply: Reply): Promise<HeadAnswer> {
  if (reply.status < 400) {
    discard(reply.body);
    return { ...answerOf(reply), viaGet: true };
  }
  const body = await readBodyStart(reply.body, MAX_REFUSAL_BYTES);
  return { ...answerOf(reply), viaGet: true, body };
}

async function readManifest(reply: Reply, maxBytes: number): Promise<Buffer> {
  const permanent = (message: string): DamselflyError => {
    reply.body.destroy(abandoned());
    return new DamselflyError('origin-broken', message, {
      facts: { originStatus: reply.status, permanent: true },
    });
  };
  if (reply.status !== 200) throw permanent(`The origin answered a manifest with ${reply.status}`);
  const encoding = reply.header('content-encoding') ?? 'identity';
  if (encoding !== 'identity') throw permanent('The origin encoded a manifest that was asked for as it is');
  const body = await readBody(reply.body, maxBytes);
  if (body === null) throw permanent(`The origin sent a manifest of more than ${maxBytes} bytes`);
  return body;
}
