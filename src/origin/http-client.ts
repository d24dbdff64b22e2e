import type { Readable } from 'node:stream';
import { LRUCache } from 'lru-cache';
import { Urgency } from '../blob/urgency.ts';
import { DamselflyError } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import { Breaker } from './breaker.ts';
import { ExchangeFailure, exchange } from './exchange.ts';
import { asRecord, type RawHeaders } from './headers.ts';
import type { OriginDirectory } from './origin-directory.ts';
import type { Pools } from './pools.ts';
import type { Reply } from './reply.ts';
import { type RetryPolicy, withRetries } from './retry.ts';

/** Targets whose breaker is remembered; a metric exists for those that were ever open. */
const MAX_BREAKERS = 1_000;

export interface HttpRequest {
  readonly method: string;
  /** Absolute; path and query go out as they are spelt. */
  readonly url: string;
  readonly headers: RawHeaders;
  readonly body?: Readable | Uint8Array | undefined;
  readonly signal: AbortSignal;
  readonly headTimeoutMs: number;
  /** The client's own request, relayed as it is: its 5xx may be about what it asks, and opens no breaker for others. */
  readonly isPassedThrough?: boolean | undefined;
  readonly onReceived?: ((bytes: number) => void) | undefined;
  /** Called for each reply of this request when its body is in, failed or dropped. */
  readonly onClose?: (() => void) | undefined;
}

export interface HttpClientOptions {
  readonly directory: OriginDirectory;
  readonly pools: Pools;
  readonly metrics: Metrics;
  readonly retry: RetryPolicy;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

/** Single requests to any host, under the SSRF rule, the host's circuit breaker and the metrics. Nothing is followed. */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #breakers: LRUCache<string, Breaker>;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    this.#breakers = new LRUCache<string, Breaker>({
      max: MAX_BREAKERS,
      dispose: (_breaker, target) => options.metrics.breakerState.remove({ origin: target }),
    });
  }

  /** One attempt. @throws DamselflyError; the signal's reason. */
  async send(request: HttpRequest): Promise<Reply> {
    try {
      return await this.#attempt(request, request.isPassedThrough !== true);
    } catch (error) {
      throw explained(error, request);
    }
  }

  /** For GET and HEAD: tried again on a failed connection and on a 5xx. The last 5xx comes back as a reply. */
  sendRetrying(request: HttpRequest, urgency: Urgency): Promise<Reply> {
    return this.#retry(request, { urgency, statuses: true });
  }

  /** For GET and HEAD whose answer is not ours to judge: tried again on a failed connection only. */
  sendReconnecting(request: HttpRequest): Promise<Reply> {
    return this.#retry(request, { urgency: new Urgency('demand'), statuses: false });
  }

  async #retry(
    request: HttpRequest,
    options: { readonly urgency: Urgency; readonly statuses: boolean },
  ): Promise<Reply> {
    const { retry, metrics } = this.#options;
    try {
      // A request that is tried three times says once that the host fails.
      let isFirst = true;
      const attempt = (): Promise<Reply> => {
        const reply = this.#attempt(request, isFirst && request.isPassedThrough !== true);
        isFirst = false;
        return reply;
      };
      return await withRetries(attempt, {
        ...options,
        policy: retry,
        signal: request.signal,
        onRetry: (reason) => metrics.originRetries.inc({ reason }),
      });
    } catch (error) {
      throw explained(error, request);
    }
  }

  /** @param judgesStatus whether a 5xx says something about the host. */
  async #attempt(request: HttpRequest, judgesStatus: boolean): Promise<Reply> {
    const { directory, metrics, pools } = this.#options;
    const { url, target } = split(request.url);
    const route = directory.route(url);
    const { dispatcher, viaProxy } = pools.dispatcherFor(url, route);
    const breaker = this.#breaker(url);
    if (!breaker.admit()) {
      throw new DamselflyError(
        'origin-failing',
        `${url.host} failed repeatedly and is asked once a second only until it is back`,
        { facts: { host: url.host } },
      );
    }
    const labels = { scheme: url.protocol.slice(0, -1), method: methodLabel(request.method) };
    metrics.backendRequests.inc(labels);
    metrics.originOpen.inc();
    const startedMs = this.#options.now();
    let replied = false;
    try {
      const reply = await exchange(dispatcher, {
        ...request,
        url,
        target,
        // A proxy's client library takes no list with repeated names.
        headers: viaProxy ? asRecord(request.headers) : request.headers,
        body: request.body,
        onReceived: request.onReceived ?? ignore,
        onClose: () => {
          metrics.originOpen.dec();
          request.onClose?.();
        },
      });
      replied = true;
      metrics.backendDuration.observe(labels, this.#options.now() - startedMs);
      if (isFailure(reply.status)) {
        metrics.backendFailures.inc(labels);
        if (judgesStatus) breaker.fail();
      } else breaker.succeed();
      return reply;
    } catch (error) {
      if (error instanceof ExchangeFailure) {
        metrics.backendFailures.inc(labels);
        if (error.kind === 'connect') breaker.fail();
      }
      throw error;
    } finally {
      if (!replied) metrics.originOpen.dec();
    }
  }

  /** The hosts that were asked, with the state of their circuit breakers. */
  standings(): { origin: string; breaker: 'open' | 'closed' }[] {
    return [...this.#breakers].map(([origin, { isOpen }]) => ({
      origin,
      breaker: isOpen ? 'open' : 'closed',
    }));
  }

  #breaker(url: URL): Breaker {
    const target = targetOf(url);
    const known = this.#breakers.get(target);
    if (known !== undefined) return known;
    const { metrics, now } = this.#options;
    const breaker = new Breaker(now, (open) => metrics.breakerState.set({ origin: target }, open ? 1 : 0));
    this.#breakers.set(target, breaker);
    return breaker;
  }
}

/** Of the server errors, 501 says something of the method, not of the server's health (RFC 9110 §15.6.2). */
export function isFailure(status: number): boolean {
  return status >= 500 && status !== 501;
}

/** Whose health a breaker tells: one host and port. A URL's own `host` is the same for ports 80 and 443. */
function targetOf(url: URL): string {
  return url.protocol === 'http:' && url.port === '' ? `${url.host}:80` : url.host;
}

/** Splits a URL so that the path is sent as spelt: parsing it again would resolve dots and re-encode. */
function split(text: string): { url: URL; target: string } {
  if (!URL.canParse(text)) throw new DamselflyError('request-malformed', 'The URL cannot be understood');
  const url = new URL(text);
  const rest = /^[^:]+:\/\/[^/?#]*([^#]*)/.exec(text)?.[1] ?? '';
  return { url, target: rest.startsWith('/') ? rest : `/${rest}` };
}

function methodLabel(method: string): string {
  return method === 'GET' || method === 'HEAD' ? method : 'OTHER';
}

function explained(error: unknown, request: HttpRequest): unknown {
  if (!(error instanceof ExchangeFailure)) return error;
  if (error.cause instanceof DamselflyError) return error.cause;
  const host = URL.canParse(request.url) ? new URL(request.url).host : undefined;
  const facts = { host, cause: (error.cause as NodeJS.ErrnoException | undefined)?.code };
  switch (error.kind) {
    case 'connect':
      return new DamselflyError(
        'origin-unreachable',
        `${host} cannot be reached; check name, network and TLS`,
        {
          facts,
          cause: error.cause,
        },
      );
    case 'lost':
      return new DamselflyError('origin-broken', `${host} closed the connection before it answered`, {
        facts,
        cause: error.cause,
      });
    case 'timeout':
      return new DamselflyError(
        'origin-timeout',
        `${host} did not answer within ${request.headTimeoutMs} ms`,
        {
          facts,
        },
      );
  }
}

function ignore(): void {
  // Bytes of answers that are not blobs are nobody's account.
}
