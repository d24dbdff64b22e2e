import type { Span } from '../../../src/blob/span.ts';
import type { Endpoint, RequestRecord } from './log.ts';

/** Which requests a fault is for. All given fields must match; faults are tried in the order they were made. */
export interface FaultMatch {
  readonly method?: string;
  /** A string equals the path without its query; a RegExp is tried on the whole request target. */
  readonly path?: string | RegExp;
  readonly endpoint?: Endpoint;
  readonly where?: (request: RequestRecord) => boolean;
  /** Only the nth matching request, counted from 1. */
  readonly nth?: number;
  /** Only the first so many matching requests (from `nth` on, when both are given). */
  readonly times?: number;
}

/**
 * What goes wrong. Fields combine. `…AtByte` counts body bytes of this answer (0: right after the head); a byte past
 * the end never comes, one at the end comes before the answer is finished.
 */
export interface FaultAction {
  readonly delayHeadMs?: number;
  /** Nothing is ever sent, until `release()`. */
  readonly neverAnswer?: true;
  /** The connection is reset before anything is sent. */
  readonly dropConnection?: true;
  /** Answer with this status and an error document in place of what was asked. A 401 carries the origin's challenge. */
  readonly status?: number;
  /** Extra or replaced header lines; undefined removes one. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Retry-After, in seconds. */
  readonly retryAfterSeconds?: number;
  /** Body for `status`. */
  readonly body?: string | Uint8Array;
  /** Sends no more from here on, connection open, until `release()`. */
  readonly stallAtByte?: number;
  /** TCP reset. What the client's kernel has not taken by then is lost with it. */
  readonly resetAtByte?: number;
  /** The body ends here with a clean FIN, whatever Content-Length said. */
  readonly endAtByte?: number;
  /** The byte at this offset of the blob (not of the answer) is inverted whenever it is sent. */
  readonly flipAtOffset?: number;
  /** Added to the true Content-Length. */
  readonly contentLengthDelta?: number;
  /** Content-Range as sent, in place of the true one. */
  readonly contentRange?: string | ((span: Span, size: number) => string);
  /** 200 with the whole body for a range. */
  readonly ignoreRange?: true;
  /** 206 with these bytes, truthfully labelled, whatever was asked for. */
  readonly serveSpan?: Span;
  /** The pace of this answer alone. */
  readonly bytesPerSecond?: number;
  /** Content-Encoding: gzip though nobody asked, or identity was asked for. */
  readonly gzip?: true;
  /** No Content-Length: chunked, or ended by closing the connection. */
  readonly framing?: 'chunked' | 'close';
}

export interface FaultRule {
  readonly match?: FaultMatch;
  readonly action: FaultAction;
}

export class Fault {
  readonly action: FaultAction;
  readonly #match: FaultMatch;
  readonly #released = Promise.withResolvers<void>();
  #seen = 0;
  #hits = 0;
  #removed = false;

  constructor(rule: FaultRule) {
    this.#match = rule.match ?? {};
    this.action = rule.action;
  }

  /** How many requests it was applied to. */
  get hits(): number {
    return this.#hits;
  }

  get released(): Promise<void> {
    return this.#released.promise;
  }

  /** Lets stalled answers go on to their end, and the later ones too. */
  release(): void {
    this.#released.resolve();
  }

  /** Later requests are no longer met; what is stalled stays so until `release()`. */
  remove(): void {
    this.#removed = true;
  }

  /** Whether this fault takes the request; counts it. */
  takes(request: RequestRecord): boolean {
    const { method, path, endpoint, where, nth, times } = this.#match;
    if (this.#removed) return false;
    if (method !== undefined && method !== request.method) return false;
    if (endpoint !== undefined && endpoint !== request.endpoint) return false;
    if (typeof path === 'string' && path !== request.path) return false;
    if (path instanceof RegExp && !path.test(request.url)) return false;
    if (where !== undefined && !where(request)) return false;
    this.#seen++;
    const first = nth ?? 1;
    const last = times === undefined ? (nth ?? Number.POSITIVE_INFINITY) : first + times - 1;
    if (this.#seen < first || this.#seen > last) return false;
    this.#hits++;
    return true;
  }
}
