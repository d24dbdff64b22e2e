import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Upstream } from '../blob/upstream.ts';
import { DamselflyError, OriginRefusal } from '../errors.ts';
import { type ClientKind, clientKind } from '../observe/client-kind.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics, RequestResult } from '../observe/metrics.ts';
import type { RecentErrors } from '../observe/recent-errors.ts';
import { type Hints, parseHints } from './hints.ts';
import { ownFailure, reportFailure } from './report-failure.ts';
import { respondError, respondRefusal } from './respond.ts';

/** Heads of everything but ranged reads: no fail-over may stand behind those clients (the contract, "Deadlines"). */
export const PLAIN_HEAD_MS = 25_000;

export interface CallParts {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly recentErrors: RecentErrors;
}

/**
 * One request on its way through the proxy: who asks, until when, and how it ended. Its signal fires when the client
 * hangs up or the head is not out in time; after the head only the client ends it.
 */
export class Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly client: ClientKind;
  readonly hints: Hints;
  readonly signal: AbortSignal;
  readonly startedMs = performance.now();
  readonly #parts: CallParts;
  readonly #abort = new AbortController();
  #headTimer: NodeJS.Timeout | null = null;
  #asBlob = false;
  #result: RequestResult | null = null;

  constructor(request: IncomingMessage, response: ServerResponse, parts: CallParts) {
    this.request = request;
    this.response = response;
    this.#parts = parts;
    this.client = clientKind(request.headers['user-agent']);
    this.hints = parseHints(request.headers);
    this.signal = this.#abort.signal;
    response.once('close', () => this.#closed());
  }

  get isHead(): boolean {
    return this.request.method === 'HEAD';
  }

  get elapsedMs(): number {
    return performance.now() - this.startedMs;
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** All lines of a header, as they came: `Accept` of skopeo is six of them. */
  lines(name: string): string[] {
    const { rawHeaders } = this.request;
    const lines: string[] = [];
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      if (rawHeaders[i]?.toLowerCase() === name) lines.push(rawHeaders[i + 1] ?? '');
    }
    return lines;
  }

  /** Starts the clock for the response head; set again, the later word counts. */
  headWithin(timeoutMs: number): void {
    if (this.#headTimer !== null) clearTimeout(this.#headTimer);
    const left = Math.max(0, timeoutMs - this.elapsedMs);
    this.#headTimer = setTimeout(() => {
      this.#abort.abort(new DamselflyError('deadline', `The bytes could not be had within ${timeoutMs} ms`));
    }, left);
  }

  /** Writes the response head; from here on only the client's leaving ends the call. */
  writeHead(status: number, lines: readonly string[]): void {
    this.#stopClock();
    this.response.writeHead(status, [...lines]);
  }

  countAsBlob(): void {
    this.#asBlob = true;
  }

  /** How it ended, where that is not plain from the status: the first word counts. */
  end(result: RequestResult): void {
    this.#result ??= result;
  }

  /** Answers with what went wrong, or resets when the head is out already. */
  fail(error: unknown, upstream?: Upstream): void {
    this.#stopClock();
    if (this.response.destroyed || this.response.writableEnded) return;
    if (error instanceof OriginRefusal) {
      this.end('refused');
      respondRefusal(this.response, error);
      return;
    }
    const known = ownFailure(error);
    this.end(known.status >= 500 ? 'failed' : 'refused');
    reportFailure(this.#parts, known, { origin: upstream?.origin, repository: upstream?.repository });
    respondError(this.response, known);
  }

  #stopClock(): void {
    if (this.#headTimer !== null) clearTimeout(this.#headTimer);
    this.#headTimer = null;
  }

  #closed(): void {
    this.#stopClock();
    const whole = this.response.writableFinished;
    if (!whole) this.#abort.abort(new DOMException('the client hung up', 'AbortError'));
    this.#parts.metrics.countRequest(this.client, this.#result ?? (whole ? 'ok' : 'aborted'), this.#asBlob);
  }
}
