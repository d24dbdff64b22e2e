import { hasCode } from '../../src/errors.ts';
import type { Exchange } from '../exchange.ts';
import type { Member, PeerId } from '../member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from '../messages.ts';
import type { Lane } from './caller-pool.ts';
import { failureOf } from './dial-failure.ts';
import type { ExchangeLoad } from './exchange-parts.ts';
import type { PooledExchange } from './pooled-exchange.ts';

/** How long a member is asked over streams once its data plane could not be dialled. */
const AGAIN_MS = 60_000;
/** The same when the dial was only late, which a busy machine explains as well: at first so long, then twice as long each time. */
const LATE_AGAIN_MS = 2_000;
/** A dial of the data plane that takes longer does not hold the question up. */
const PATIENCE_MS = 700;

/** A member that is asked over streams. */
interface Fallen {
  /** It is dialled again after this. */
  readonly untilMs: number;
  readonly spanMs: number;
  isTrying: boolean;
}

/**
 * Sockets of our own, and libp2p streams to members whose data plane cannot be dialled: a closed port, an old announcement.
 * Streams cost several times as much, so that nothing but that is a reason for them: a member that has a socket of ours is
 * never asked over streams, and one that has fallen to them is dialled again beside its questions until a socket is there.
 */
export class AutoExchange implements Exchange {
  readonly #tls: PooledExchange;
  readonly #stream: PooledExchange;
  readonly #againMs: number;
  readonly #lateAgainMs: number;
  readonly #patienceMs: number;
  readonly #now: () => number;
  readonly #fallen = new Map<PeerId, Fallen>();
  readonly #ended = new AbortController();

  constructor(options: {
    tls: PooledExchange;
    stream: PooledExchange;
    againMs?: number;
    lateAgainMs?: number;
    patienceMs?: number;
    /** Milliseconds that never go back. */
    now?: () => number;
  }) {
    this.#tls = options.tls;
    this.#stream = options.stream;
    this.#againMs = options.againMs ?? AGAIN_MS;
    this.#lateAgainMs = options.lateAgainMs ?? LATE_AGAIN_MS;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#now = options.now ?? (() => performance.now());
  }

  async ask(to: Member, ask: Ask, onPlan: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    return (await this.#choose(to, 'control', signal)).ask(to, ask, onPlan, signal);
  }

  async report(to: Member, reports: readonly Report[], signal: AbortSignal): Promise<void> {
    return (await this.#choose(to, 'control', signal)).report(to, reports, signal);
  }

  async inquire(to: Member, inquiry: Inquiry, signal: AbortSignal): Promise<Knowledge> {
    return (await this.#choose(to, 'control', signal)).inquire(to, inquiry, signal);
  }

  async fetch(
    to: Member,
    fetch: Fetch,
    onProgress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<FetchOutcome> {
    return (await this.#choose(to, 'bulk', signal)).fetch(to, fetch, onProgress, signal);
  }

  connected(): readonly PeerId[] {
    return [...new Set([...this.#tls.connected(), ...this.#stream.connected()])];
  }

  load(): ExchangeLoad {
    return { ...this.#tls.load(), connections: this.connected().length };
  }

  cutOff(peer: PeerId): void {
    this.#tls.cutOff(peer);
    this.#stream.cutOff(peer);
  }

  async close(): Promise<void> {
    this.#ended.abort(new Error('the exchange has been closed'));
    await Promise.all([this.#tls.close(), this.#stream.close()]);
  }

  /** Members that are asked over streams, and whose data plane is not dialled for now. */
  fallen(): PeerId[] {
    const nowMs = this.#now();
    return [...this.#fallen].filter(([, { untilMs }]) => untilMs > nowMs).map(([peer]) => peer);
  }

  async #choose(to: Member, lane: Lane, signal: AbortSignal): Promise<PooledExchange> {
    // Nearly every question: there is nothing to be patient for.
    if (this.#tls.isReached(to.id, lane)) return this.#tls;
    const fallen = this.#fallen.get(to.id);
    if (fallen !== undefined) {
      if (this.#now() >= fallen.untilMs) this.#tryAgain(to, lane, fallen);
      return this.#stream;
    }
    const dialled = this.#dial(to, lane, signal);
    const hasSocket = this.#tls.reached().includes(to.id);
    const outcome = hasSocket ? await dialled : await this.#patiently(dialled);
    if (outcome === 'reached') return this.#tls;
    if (outcome === 'late') {
      dialled.then(
        (late) => {
          if (late !== 'reached') this.#remember(to.id, late);
        },
        () => undefined,
      );
      return this.#stream;
    }
    if (hasSocket) throw outcome;
    try {
      await this.#stream.reach(to, lane, signal);
    } catch (error) {
      signal.throwIfAborted();
      // Neither way: it is the member that is not there, and what could not be dialled is told.
      throw hasCode(error, 'peer-unreachable') ? outcome : error;
    }
    this.#remember(to.id, outcome);
    return this.#stream;
  }

  /** @returns the error when it cannot be dialled. */
  #dial(to: Member, lane: Lane, signal: AbortSignal): Promise<'reached' | Error> {
    return this.#tls.reach(to, lane, signal).then(
      () => 'reached',
      (error: unknown) => {
        if (!hasCode(error, 'peer-unreachable')) throw error;
        return error;
      },
    );
  }

  /** @returns late: nobody knows yet, but the question does not wait for it. */
  async #patiently<T>(dialled: Promise<T>): Promise<T | 'late'> {
    const late = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => late.resolve('late'), this.#patienceMs);
    try {
      return await Promise.race([dialled, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #tryAgain(to: Member, lane: Lane, fallen: Fallen): void {
    if (fallen.isTrying) return;
    fallen.isTrying = true;
    this.#dial(to, lane, this.#ended.signal).then(
      (outcome) => {
        if (outcome === 'reached') this.#fallen.delete(to.id);
        else this.#remember(to.id, outcome);
      },
      // It refuses us: the next question hears it.
      () => this.#fallen.delete(to.id),
    );
  }

  #remember(peer: PeerId, error: Error): void {
    const nowMs = this.#now();
    // Of those that nobody has asked since, nothing is known any more.
    for (const [other, { untilMs }] of this.#fallen)
      if (untilMs + this.#againMs <= nowMs) this.#fallen.delete(other);
    const before = this.#fallen.get(peer)?.spanMs ?? this.#lateAgainMs / 2;
    const spanMs = failureOf(error) === 'timeout' ? Math.min(before * 2, this.#againMs) : this.#againMs;
    this.#fallen.set(peer, { untilMs: nowMs + spanMs, spanMs, isTrying: false });
  }
}
