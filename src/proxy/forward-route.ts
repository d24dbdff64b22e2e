import { pipeline } from 'node:stream/promises';
import type { OriginId } from '../blob/upstream.ts';
import { DamselflyError } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import { announcesBody } from '../origin/headers.ts';
import type { ForwardAnswer, ForwardOptions, OriginClient } from '../origin/origin-client.ts';
import { CLIENT_IDLE_TIMEOUT_MS } from './body-writer.ts';
import { type Call, PLAIN_HEAD_MS } from './call.ts';
import { resetWhenIdle } from './client-idle.ts';
import { type Cut, cutRange, spanOf } from './cut-range.ts';
import { resetConnection } from './reset.ts';

/** A request that is relayed as it is: to an origin's path, or to a URL of the forward proxy. */
export interface Forwardable {
  readonly origin: OriginId;
  /** Path and query; a whole URL when `absolute`. */
  readonly target: string;
  readonly absolute: boolean;
  readonly namespace: string | undefined;
  /** What a whole answer to a range becomes; undefined: it is passed on. See {@link cutRange}. */
  readonly cut?: 'lenient' | 'strict' | undefined;
  readonly method?: string;
  /** Sent instead of the client's own header lines, and without its body. */
  readonly rawHeaders?: readonly string[];
}

/** Token endpoints, tag lists, referrers, pushes, unknown paths: untouched both ways, repeated header lines included. */
export class ForwardRoute {
  readonly #origin: Pick<OriginClient, 'forward' | 'forwardUrl'>;
  readonly #metrics: Metrics;
  readonly #clientIdleMs: number;

  constructor(parts: {
    origin: Pick<OriginClient, 'forward' | 'forwardUrl'>;
    metrics: Metrics;
    /** A client that takes nothing for so long is gone; tests want it shorter. */
    clientIdleMs?: number;
  }) {
    this.#origin = parts.origin;
    this.#metrics = parts.metrics;
    this.#clientIdleMs = parts.clientIdleMs ?? CLIENT_IDLE_TIMEOUT_MS;
  }

  async handle(call: Call, target: Forwardable): Promise<void> {
    const answer = await this.#send(call, target);
    const { status, rawHeaders, span } = cut(call, answer, target.cut);
    try {
      if (status >= 400) call.end(status >= 500 ? 'failed' : 'refused');
      call.writeHead(status, withNamespace(rawHeaders, target.namespace));
      resetWhenIdle(call.response, this.#clientIdleMs, () => call.end('aborted'));
      if (call.isHead) call.response.end();
      else if (span === undefined) await pipeline(answer.body, call.response, { signal: call.signal });
      else await pipeline(spanOf(answer.body, span), call.response, { signal: call.signal });
    } catch (error) {
      // A body that breaks off must not look like a whole one.
      resetConnection(call.response);
      if (!call.signal.aborted) call.end('failed');
      if (!(error instanceof Error)) throw error;
    } finally {
      answer.body.destroy();
    }
  }

  /** The same, with a small answer gathered instead of streamed. @throws DamselflyError origin-broken when it is not small. */
  async gather(
    call: Call,
    target: Forwardable,
    maxBytes: number,
  ): Promise<{ status: number; rawHeaders: readonly string[]; body: Buffer }> {
    const answer = await this.#send(call, target);
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of answer.body) {
        chunks.push(chunk as Buffer);
        length += (chunk as Buffer).length;
        if (length > maxBytes)
          throw new DamselflyError('origin-broken', `The origin's answer is longer than ${maxBytes} bytes`);
      }
    } finally {
      answer.body.destroy();
    }
    return {
      status: answer.status,
      rawHeaders: withNamespace(answer.rawHeaders, target.namespace),
      body: Buffer.concat(chunks),
    };
  }

  #send(call: Call, target: Forwardable): Promise<ForwardAnswer> {
    this.#metrics.passedThrough.inc();
    const rawHeaders = target.rawHeaders ?? call.request.rawHeaders;
    // With a body the time counts from its last byte, which the origin module sees.
    if (!announcesBody(rawHeaders)) call.headWithin(PLAIN_HEAD_MS);
    const options: ForwardOptions = {
      method: target.method ?? call.request.method ?? 'GET',
      rawHeaders,
      body: call.request,
      signal: call.signal,
    };
    return target.absolute
      ? this.#origin.forwardUrl({ ...options, url: target.target })
      : this.#origin.forward({ ...options, origin: target.origin, pathAndQuery: target.target });
  }
}

function cut(call: Call, answer: ForwardAnswer, mode: Forwardable['cut']): Cut {
  if (mode === undefined) return { ...answer, span: undefined };
  const { method } = call.request;
  try {
    return cutRange(
      { method, range: call.header('range'), ifRange: call.header('if-range') },
      answer,
      mode === 'strict',
    );
  } catch (error) {
    answer.body.destroy();
    throw error;
  }
}

function withNamespace(rawHeaders: readonly string[], namespace: string | undefined): readonly string[] {
  return namespace === undefined ? rawHeaders : [...rawHeaders, 'OCI-Namespace', namespace];
}
