import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { DamselflyError, hasCode } from '../errors.ts';
import type { RawHeaders } from './headers.ts';
import { Reply, ReplyBody } from './reply.ts';

/**
 * Unread bytes of one body that may wait in memory before its socket is paused. Two reads of a socket (64 KiB each) are
 * enough to keep it busy while the reader works.
 */
const HIGH_WATER_BYTES = 256 * 1024;

export interface ExchangeRequest {
  readonly method: string;
  readonly url: URL;
  /** Path and query exactly as they shall go out. */
  readonly target: string;
  readonly headers: RawHeaders | Record<string, string | string[]>;
  readonly body: Readable | Uint8Array | undefined;
  readonly signal: AbortSignal;
  /** To the head, from the last byte of the request's body. */
  readonly headTimeoutMs: number;
  /** Body bytes of a 2xx as they come in. */
  readonly onReceived: (bytes: number) => void;
  /** Called once: the exchange is over, in whatever way, after its head. */
  readonly onClose: () => void;
}

/** What went wrong before the head, with the fact that decides about retries and the circuit breaker. */
export class ExchangeFailure extends Error {
  /** `connect`: no connection came about. `lost`: it broke before the head. `timeout`: no head in time. */
  readonly kind: 'connect' | 'lost' | 'timeout';

  constructor(kind: 'connect' | 'lost' | 'timeout', cause: unknown) {
    super(`exchange failed: ${kind}`, { cause });
    this.name = 'ExchangeFailure';
    this.kind = kind;
  }
}

/**
 * One request and its answer's head over `dispatcher`. Nothing is retried, followed or decompressed here.
 * @throws ExchangeFailure; DamselflyError of the connector as it is; the signal's reason once it is aborted.
 */
export function exchange(dispatcher: Dispatcher, request: ExchangeRequest): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { signal } = request;
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    let controller: Dispatcher.DispatchController | undefined;
    let body: ReplyBody | undefined;
    let giveUp: Error | undefined;
    let headTimer: NodeJS.Timeout | undefined;

    const settle = (): void => {
      clearTimeout(headTimer);
      headTimer = undefined;
    };
    const cleanUp = (): void => {
      settle();
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (error: unknown): void => {
      cleanUp();
      if (body === undefined) reject(error);
      else body.fail(error);
    };
    /** Ends the exchange from our side, now or as soon as the library has it started. */
    const abandon = (error: unknown): void => {
      giveUp = error instanceof Error ? error : new DOMException('aborted', 'AbortError');
      fail(error);
      controller?.abort(giveUp);
    };
    const onAbort = (): void => abandon(signal.reason);
    const onHeadTimeout = (): void => abandon(new ExchangeFailure('timeout', undefined));
    const armHeadTimer = (): void => {
      if (body === undefined && giveUp === undefined && headTimer === undefined) {
        headTimer = setTimeout(onHeadTimeout, request.headTimeoutMs);
      }
    };

    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        if (giveUp !== undefined) started.abort(giveUp);
      },
      onRequestSent: armHeadTimer,
      onResponseStart(started, status) {
        // 1xx are interim (RFC 9110 §15.2); the library answers 101 by an error since we never ask to upgrade.
        if (status < 200 || giveUp !== undefined) return;
        settle();
        const onReceived = status < 300 ? request.onReceived : ignore;
        const received = new ReplyBody(HIGH_WATER_BYTES, onReceived, () => {
          cleanUp();
          request.onClose();
        });
        received.attach(started);
        body = received;
        resolve(new Reply(status, textOf(started.rawHeaders), received));
      },
      onResponseData(_controller, chunk) {
        body?.push(chunk);
      },
      onResponseEnd() {
        body?.end();
      },
      onResponseError(_controller, error) {
        if (giveUp !== undefined) return;
        fail(body === undefined ? failureOf(error, controller !== undefined) : lostBody(error));
      },
    };

    signal.addEventListener('abort', onAbort, { once: true });
    // Connecting has a deadline of its own; a request without a body has nothing else to wait for.
    if (request.body === undefined) armHeadTimer();
    try {
      dispatcher.dispatch(
        {
          origin: request.url.origin,
          path: request.target,
          method: request.method,
          headers: request.headers as Dispatcher.DispatchOptions['headers'],
          body: request.body ?? null,
          headersTimeout: 0,
          bodyTimeout: 0,
          // The library closes after each HEAD unless told not to: one TLS handshake per rights check otherwise.
          ...(request.method === 'HEAD' ? { reset: false } : {}),
        },
        handler,
      );
    } catch (error) {
      fail(
        new DamselflyError('request-malformed', 'A header or the path cannot be sent on', { cause: error }),
      );
    }
  });
}

function ignore(): void {
  // The bytes of redirects and error documents are no blob's.
}

function textOf(raw: Dispatcher.DispatchController['rawHeaders']): string[] {
  if (!Array.isArray(raw)) return [];
  return raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
}

function failureOf(error: Error, started: boolean): Error {
  if (hasCode(error, 'target-forbidden')) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
    // Of a request that was under way the library says so when a proxy wants a login (407).
    if (started) return new ExchangeFailure('connect', error);
    return new DamselflyError('request-malformed', 'A header or the path cannot be sent on', {
      cause: error,
    });
  }
  return new ExchangeFailure(started ? 'lost' : 'connect', error);
}

function lostBody(error: Error): DamselflyError {
  return new DamselflyError('origin-broken', 'The origin broke off in the middle of a body', {
    cause: error,
  });
}
