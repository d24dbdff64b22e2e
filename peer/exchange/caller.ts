import type { DamselflyError } from '../../src/errors.ts';
import type { PieceBufferPool } from '../exchange.ts';
import type { PeerId } from '../member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from '../messages.ts';
import { type Channel, unreachable } from './channel.ts';
import {
  decodeKnowledge,
  decodePeers,
  decodePieceHead,
  decodePlan,
  encodeAsk,
  encodeFetch,
  encodeInquiry,
  encodeReports,
} from './codec.ts';
import type { ExchangeCounters, TransportName } from './counters.ts';
import { FRAME, type FrameHead, frame, MAX_TAG } from './frame.ts';
import type { FrameReader, FrameSink } from './frame-reader.ts';
import type { ExchangeLimits } from './limits.ts';
import { Liveness } from './liveness.ts';
import { LostConnection } from './lost-connection.ts';
import { PieceProgress } from './piece-progress.ts';
import { PieceTransfer } from './piece-transfer.ts';
import type { TokenBucket } from './token-bucket.ts';
import { broken } from './wire.ts';

/** What a caller shares with the others of its exchange. */
export interface CallerParts {
  readonly transport: TransportName;
  readonly pool: PieceBufferPool;
  readonly limits: ExchangeLimits;
  readonly counters: ExchangeCounters;
  readonly download: TokenBucket;
}

/** One question under way. */
interface Call {
  readonly transfer: PieceTransfer | null;
  isHeard: boolean;
  /** @returns whether it is answered. */
  onFrame(head: FrameHead, body: Buffer): boolean;
  onData(bytes: number): boolean;
  fail(error: DamselflyError): void;
}

/** The asking side of a channel: questions and their answers by tags. Nothing is asked before the other side has proven itself. */
export class Caller implements FrameSink {
  readonly #channel: Channel;
  readonly #reader: FrameReader;
  readonly #parts: CallerParts;
  readonly #calls = new Map<number, Call>();
  readonly #liveness: Liveness;
  /** Given up in the middle of a frame: the socket still writes to its buffer. */
  #pinned: { readonly tag: number; readonly transfer: PieceTransfer } | null = null;
  /** What may still come of pieces that were given up. */
  #unwantedBytes = 0;
  #nextTag = 1;
  #isRetired = false;
  #isPaused = false;
  #hasFallenSilent = false;
  #resumeTimer: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;
  #onGone: (() => void) | undefined;

  constructor(channel: Channel, reader: FrameReader, parts: CallerParts) {
    this.#channel = channel;
    this.#reader = reader;
    this.#parts = parts;
    this.#liveness = new Liveness({
      limits: parts.limits,
      isAwaited: () => this.#calls.size > 0,
      isReading: () => !this.#isPaused,
      ping: () => channel.send(frame(FRAME.ping, 0)),
      onSilent: () => this.#fallSilent(),
    });
    reader.sink = this;
    reader.isTrusted = true;
  }

  get peer(): PeerId {
    return this.#channel.peer;
  }

  /** Takes further questions. */
  get isUsable(): boolean {
    return this.#channel.isOpen && !this.#isRetired;
  }

  get isOpen(): boolean {
    return this.#channel.isOpen;
  }

  /** It was given up since nothing came any more: no use in asking again at once. */
  get hasFallenSilent(): boolean {
    return this.#hasFallenSilent;
  }

  get isIdle(): boolean {
    return this.#calls.size === 0;
  }

  /** For the pool: after the last answer, and when the connection is gone. */
  listen(listeners: { onIdle: () => void; onGone: () => void }): void {
    this.#onIdle = listeners.onIdle;
    this.#onGone = listeners.onGone;
  }

  /** No further questions; the connection is closed after the last answer, or in `withinMs` anyhow. */
  retire(withinMs: number): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    if (this.isIdle) this.destroy();
    else setTimeout(() => this.destroy(), withinMs).unref();
  }

  destroy(error?: DamselflyError): void {
    this.#channel.destroy(error);
  }

  ask(ask: Ask, onPlan: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    return this.#call(FRAME.ask, encodeAsk(ask), signal, null, (settle, fail) => ({
      onFrame: (head, body) => {
        if (head.type !== FRAME.plan) return false;
        const plan = decodePlan(body);
        try {
          onPlan(plan);
        } catch (error) {
          // The asker's own fault: nothing is wrong with the connection.
          fail(error);
          return true;
        }
        if (plan.isFinal) settle(undefined);
        return true;
      },
    }));
  }

  inquire(inquiry: Inquiry, signal: AbortSignal): Promise<Knowledge> {
    return this.#call(FRAME.inquiry, encodeInquiry(inquiry), signal, null, (settle) => ({
      onFrame: (head, body) => {
        if (head.type !== FRAME.knowledge) return false;
        settle(decodeKnowledge(body));
        return true;
      },
    }));
  }

  report(reports: readonly Report[]): void {
    for (const body of encodeReports(reports)) this.#channel.send(frame(FRAME.report, 0, body));
  }

  fetch(fetch: Fetch, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<FetchOutcome> {
    const { transport, counters, pool } = this.#parts;
    const transfer = new PieceTransfer(fetch, pool);
    const askedAtMs = performance.now();
    let progress: PieceProgress | undefined;
    const outcome = this.#call<FetchOutcome>(
      FRAME.fetch,
      encodeFetch(fetch),
      signal,
      transfer,
      (settle, fail) => {
        const tell = (bytes: number): boolean => {
          try {
            onProgress(bytes);
            return true;
          } catch (error) {
            // The asker's own fault: nothing is wrong with the connection.
            fail(error);
            return false;
          }
        };
        const news = new PieceProgress({
          count: (bytes) => counters.pieceReceived(transport, fetch.urgency, bytes),
          tell,
        });
        progress = news;
        return {
          onFrame: (head, body) => {
            if (head.type === FRAME.waiting) tell(0);
            else if (head.type === FRAME.piece) {
              transfer.begin(decodePieceHead(body));
              counters.firstByte((performance.now() - askedAtMs) / 1000);
            } else if (transfer.isBegun) return false;
            else if (head.type === FRAME.busy) settle({ kind: 'busy', others: decodePeers(body) });
            else if (head.type === FRAME.gone) settle({ kind: 'gone' });
            else return false;
            return true;
          },
          onData: (bytes) => {
            const isLast = bytes >= transfer.missing;
            if (!news.came(bytes, isLast, this.#liveness.heardAtMs)) return;
            const whole = transfer.filled(bytes);
            if (whole !== null) settle(whole);
          },
        };
      },
    );
    return outcome.finally(() => progress?.end());
  }

  onFrame(head: FrameHead, body: Buffer): void {
    this.#liveness.heard();
    if (head.type === FRAME.pong) return;
    const call = this.#calls.get(head.tag);
    if (call === undefined) {
      // An answer may have crossed the word that it is not wanted any more.
      if (head.tag === 0 || head.tag >= this.#nextTag) throw broken('an answer to nothing that was asked');
      return;
    }
    call.isHeard = true;
    if (head.type === FRAME.failed) call.fail(unreachable('it could not answer'));
    else if (!call.onFrame(head, body)) throw broken(`an answer of another kind (${head.type})`);
  }

  dataTarget(tag: number, bytes: number): Buffer | null {
    const transfer = this.#calls.get(tag)?.transfer;
    if (transfer != null) return transfer.claim(bytes);
    this.#unwantedBytes -= bytes;
    if (this.#unwantedBytes < 0) throw broken('bytes that nobody asked for');
    return null;
  }

  onData(tag: number, bytes: number, isEnd: boolean): void {
    this.#liveness.heard();
    this.#calls.get(tag)?.onData(bytes);
    if (isEnd && this.#pinned?.tag === tag) this.#unpin();
    this.#pace(bytes);
  }

  /** The channel is gone: nothing writes to any buffer of ours from here on. */
  closed(error: DamselflyError): void {
    this.#liveness.stop();
    clearTimeout(this.#resumeTimer);
    this.#unpin();
    for (const call of [...this.#calls.values()]) call.fail(new LostConnection(error, !call.isHeard));
    this.#onGone?.();
  }

  #call<T>(
    type: typeof FRAME.ask | typeof FRAME.inquiry | typeof FRAME.fetch,
    body: Buffer,
    signal: AbortSignal,
    transfer: PieceTransfer | null,
    make: (
      settle: (value: T) => void,
      fail: (error: unknown) => void,
    ) => {
      onFrame(head: FrameHead, body: Buffer): boolean;
      onData?(bytes: number): void;
    },
  ): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (!this.isUsable) return Promise.reject(new LostConnection(unreachable('it has ended'), true));
    if (this.#calls.size >= this.#parts.limits.maxCalls)
      return Promise.reject(unreachable('too many questions are under way'));
    const tag = this.#takeTag();
    const startedAtMs = performance.now();
    return new Promise<T>((resolve, reject) => {
      const end = (): boolean => {
        if (!this.#calls.delete(tag)) return false;
        signal.removeEventListener('abort', abort);
        if (transfer !== null) this.#giveUp(tag, transfer);
        this.#ended();
        return true;
      };
      const leave = (reason: unknown): void => {
        if (!end()) return;
        reject(reason);
        if (!this.#channel.isOpen) return;
        this.#channel.send(frame(FRAME.cancel, tag));
        if (this.#liveness.heardAtMs < startedAtMs) this.#liveness.ping();
      };
      const abort = (): void => leave(signal.reason);
      const { onFrame, onData } = make(
        (value) => {
          if (end()) resolve(value);
        },
        (error) => leave(error),
      );
      this.#calls.set(tag, {
        transfer,
        isHeard: false,
        onFrame,
        onData: (bytes) => {
          onData?.(bytes);
          return true;
        },
        fail: (error) => {
          if (end()) reject(error);
        },
      });
      signal.addEventListener('abort', abort);
      this.#channel.send(frame(type, tag, body));
      this.#liveness.watch();
    });
  }

  #takeTag(): number {
    const tag = this.#nextTag;
    if (tag >= MAX_TAG) throw unreachable('it has been asked too often');
    this.#nextTag += 1;
    // The tags of a connection are used once; it is left long before they run out.
    if (this.#nextTag > MAX_TAG / 2) this.#isRetired = true;
    return tag;
  }

  /** A whole piece has left its transfer by now, and there is nothing to give up. */
  #giveUp(tag: number, transfer: PieceTransfer): void {
    this.#unwantedBytes += Math.max(0, transfer.missing);
    if (this.#channel.isOpen && this.#reader.isWriting(tag)) this.#pinned = { tag, transfer };
    else transfer.drop();
  }

  #unpin(): void {
    this.#pinned?.transfer.drop();
    this.#pinned = null;
  }

  #ended(): void {
    if (this.#calls.size > 0) return;
    if (this.#isRetired) this.destroy();
    this.#onIdle?.();
  }

  /** Holds the download rate by not reading for a while. */
  #pace(bytes: number): void {
    const waitMs = this.#parts.download.take(bytes);
    if (waitMs < 1 || this.#isPaused) return;
    this.#isPaused = true;
    this.#channel.pause();
    this.#resumeTimer = setTimeout(() => {
      this.#isPaused = false;
      this.#liveness.heard();
      this.#channel.resume();
    }, waitMs);
  }

  #fallSilent(): void {
    this.#hasFallenSilent = true;
    this.destroy(unreachable('it has fallen silent'));
  }
}
