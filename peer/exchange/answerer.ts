import { pieceCount } from '../../src/blob/piece.ts';
import { DamselflyError } from '../../src/errors.ts';
import type { Logger } from '../../src/observe/log.ts';
import type { ExchangeHandlers } from '../exchange.ts';
import type { PeerId } from '../member.ts';
import type { Ask, Fetch } from '../messages.ts';
import type { Channel } from './channel.ts';
import {
  decodeAsk,
  decodeFetch,
  decodeInquiry,
  decodeReports,
  encodeKnowledge,
  encodePeers,
  encodePieceHead,
  encodePlan,
} from './codec.ts';
import type { ExchangeCounters, TransportName } from './counters.ts';
import { FRAME, type FrameHead, frame, frameHead, MAX_DATA_BYTES } from './frame.ts';
import type { FrameReader, FrameSink } from './frame-reader.ts';
import type { ExchangeLimits } from './limits.ts';
import { pause } from './pause.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { UploadQueue } from './upload-queue.ts';
import { broken } from './wire.ts';

/** One for all: a reason made for each question would cost a stack trace each. */
const LEFT = new DamselflyError('deadline', 'The asker has left');

/** What an answerer shares with the others of its exchange. */
export interface AnswererParts {
  readonly transport: TransportName;
  readonly handlers: ExchangeHandlers;
  readonly limits: ExchangeLimits;
  readonly counters: ExchangeCounters;
  readonly log: Logger;
  readonly uploads: UploadQueue;
  readonly upload: TokenBucket;
}

/** The answering side of a channel. */
export class Answerer implements FrameSink {
  readonly #channel: Channel;
  readonly #parts: AnswererParts;
  readonly #work = new Map<number, AbortController>();
  /** Fetches that are not answered yet, by their tags. */
  readonly #fetches = new Set<number>();
  #signs: NodeJS.Timeout | undefined;
  #lastUsedAtMs = performance.now();
  #isRetired = false;

  constructor(channel: Channel, reader: FrameReader, parts: AnswererParts) {
    this.#channel = channel;
    this.#parts = parts;
    reader.sink = this;
    reader.isTrusted = true;
  }

  get peer(): PeerId {
    return this.#channel.peer;
  }

  get isIdle(): boolean {
    return this.#work.size === 0;
  }

  /** Milliseconds of `performance.now()`. */
  get lastUsedAtMs(): number {
    return this.#lastUsedAtMs;
  }

  /** Closed after the last answer, or in `withinMs` anyhow. */
  retire(withinMs: number): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    if (this.isIdle) this.destroy();
    else setTimeout(() => this.destroy(), withinMs).unref();
  }

  destroy(error?: DamselflyError): void {
    this.#channel.destroy(error);
  }

  onFrame(head: FrameHead, body: Buffer): void {
    this.#lastUsedAtMs = performance.now();
    const { handlers } = this.#parts;
    switch (head.type) {
      case FRAME.ping:
        this.#channel.send(frame(FRAME.pong, head.tag));
        return;
      case FRAME.cancel:
        this.#work.get(head.tag)?.abort(LEFT);
        return;
      case FRAME.report: {
        const reports = decodeReports(body);
        this.#guarded(() => handlers.onReport(this.peer, reports));
        return;
      }
      case FRAME.inquiry: {
        const inquiry = decodeInquiry(body);
        const knowledge = this.#guarded(() => handlers.onInquiry(this.peer, inquiry));
        if (knowledge === undefined) this.#reply(FRAME.failed, head.tag, undefined);
        else this.#reply(FRAME.knowledge, head.tag, encodeKnowledge(knowledge));
        return;
      }
      case FRAME.ask: {
        const ask = decodeAsk(body);
        this.#start(head.tag, (signal) => this.#plan(head.tag, ask, signal));
        return;
      }
      case FRAME.fetch: {
        const fetch = decodeFetch(body);
        if (fetch.piece >= pieceCount(fetch.size)) throw broken('a question for a piece past the end');
        this.#start(head.tag, (signal) => this.#fetch(head.tag, fetch, signal));
        return;
      }
      default:
        throw broken(`a question of a kind that nobody knows (${head.type})`);
    }
  }

  dataTarget(): null {
    throw broken('bytes of a piece from the side that asks');
  }

  onData(): void {
    // Never called: no data frame has a beginning here.
  }

  closed(): void {
    this.#hush();
    for (const controller of this.#work.values()) controller.abort(LEFT);
  }

  /** What goes wrong on this side is not the other side's fault. */
  #guarded<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#parts.log.error({ err: error, peer: this.peer }, "a peer's word could not be taken in");
      return undefined;
    }
  }

  #start(tag: number, work: (signal: AbortSignal) => Promise<void>): void {
    if (this.#work.has(tag)) throw broken('a tag is used twice');
    if (this.#work.size >= this.#parts.limits.maxCalls) throw broken('too many questions at once');
    const controller = new AbortController();
    this.#work.set(tag, controller);
    void this.#run(tag, controller.signal, work);
  }

  async #run(tag: number, signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted && this.#channel.isOpen) {
        this.#parts.log.warn({ err: error, peer: this.peer }, "a peer's question could not be answered");
        this.#reply(FRAME.failed, tag, undefined);
      }
    } finally {
      this.#work.delete(tag);
      this.#lastUsedAtMs = performance.now();
      if (this.#isRetired && this.isIdle) this.destroy();
    }
  }

  async #plan(tag: number, ask: Ask, signal: AbortSignal): Promise<void> {
    let isAnswered = false;
    await this.#parts.handlers.onAsk(
      this.peer,
      ask,
      (plan) => {
        isAnswered ||= plan.isFinal;
        if (!signal.aborted) this.#reply(FRAME.plan, tag, encodePlan(plan));
      },
      signal,
    );
    // A node that stops, or is not ready: the asker turns to the understudy at once.
    if (!isAnswered && !signal.aborted) this.#reply(FRAME.failed, tag, undefined);
  }

  /** Until it is answered the asker hears now and then that it will be: silence is for those who are gone, or ignore it. */
  async #fetch(tag: number, fetch: Fetch, signal: AbortSignal): Promise<void> {
    this.#fetches.add(tag);
    this.#signs ??= setInterval(() => {
      for (const waiting of this.#fetches) this.#reply(FRAME.waiting, waiting, undefined);
    }, this.#parts.limits.signMs).unref();
    try {
      await this.#serve(tag, fetch, signal);
    } finally {
      this.#fetches.delete(tag);
      if (this.#fetches.size === 0) this.#hush();
    }
  }

  #hush(): void {
    clearInterval(this.#signs);
    this.#signs = undefined;
  }

  async #serve(tag: number, fetch: Fetch, signal: AbortSignal): Promise<void> {
    const { handlers, uploads } = this.#parts;
    const dueMs = performance.now() + fetch.waitMs;
    if (!(await handlers.awaitPiece(this.peer, fetch, signal))) {
      if (!signal.aborted) this.#reply(FRAME.gone, tag, undefined);
      return;
    }
    const waitMs = Math.max(0, dueMs - performance.now());
    const leave = await uploads.acquire({ peer: this.peer, urgency: fetch.urgency, waitMs, signal });
    if (leave === 'busy') {
      if (!signal.aborted) this.#busy(tag, handlers.othersWith?.(this.peer, fetch) ?? []);
      return;
    }
    try {
      const served = await handlers.onFetch(this.peer, fetch, signal);
      if (served.kind !== 'piece') {
        if (served.kind === 'busy') this.#busy(tag, served.others);
        else this.#reply(FRAME.gone, tag, undefined);
        return;
      }
      try {
        const head = encodePieceHead({ length: served.bytes.length, voucher: served.voucher });
        this.#reply(FRAME.piece, tag, head);
        await this.#sendBytes(tag, fetch, served.bytes, signal);
      } finally {
        served.release();
      }
    } finally {
      leave();
    }
  }

  async #sendBytes(tag: number, fetch: Fetch, bytes: Buffer, signal: AbortSignal): Promise<void> {
    const { counters, transport, upload } = this.#parts;
    const sent: Promise<void>[] = [];
    try {
      for (let at = 0; at < bytes.length && !signal.aborted; at += MAX_DATA_BYTES) {
        const part = bytes.subarray(at, at + MAX_DATA_BYTES);
        const waitMs = upload.take(part.length);
        if (waitMs > 0) await pause(waitMs, signal);
        if (signal.aborted) break;
        // One is on its way while the next one waits for its turn.
        await sent.at(-2);
        const done = this.#channel.sendData(frameHead(FRAME.data, tag, part.length), part);
        done.catch(() => undefined);
        sent.push(done);
        counters.pieceSent(transport, fetch.urgency, part.length);
      }
      await Promise.all(sent);
    } finally {
      // Whoever lent the bytes gets them back only when nobody looks at them any more.
      await Promise.allSettled(sent);
    }
  }

  #busy(tag: number, others: readonly PeerId[]): void {
    this.#parts.counters.busyAnswered();
    this.#reply(FRAME.busy, tag, encodePeers(others));
  }

  #reply(type: Parameters<typeof frame>[0], tag: number, body: Buffer | undefined): void {
    if (this.#channel.isOpen) this.#channel.send(frame(type, tag, body));
  }
}
