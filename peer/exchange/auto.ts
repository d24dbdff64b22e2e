import { hasCode } from '../../src/errors.ts';
import type { Exchange } from '../exchange.ts';
import type { Member, PeerId } from '../member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from '../messages.ts';
import type { Lane } from './caller-pool.ts';
import type { ExchangeLoad } from './exchange-parts.ts';
import type { PooledExchange } from './pooled-exchange.ts';

/** How long a member is asked over streams once its data plane could not be dialled. */
const AGAIN_MS = 60_000;
/** A dial of the data plane that takes longer does not hold the question up. */
const PATIENCE_MS = 700;

/** Sockets of our own, and libp2p streams to members whose data plane cannot be dialled: a closed port, an old announcement. */
export class AutoExchange implements Exchange {
  readonly #tls: PooledExchange;
  readonly #stream: PooledExchange;
  readonly #againMs: number;
  readonly #patienceMs: number;
  readonly #now: () => number;
  /** Members that are asked over streams, until when. */
  readonly #fallen = new Map<PeerId, number>();

  constructor(options: {
    tls: PooledExchange;
    stream: PooledExchange;
    againMs?: number;
    patienceMs?: number;
    /** Milliseconds that never go back. */
    now?: () => number;
  }) {
    this.#tls = options.tls;
    this.#stream = options.stream;
    this.#againMs = options.againMs ?? AGAIN_MS;
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
    await Promise.all([this.#tls.close(), this.#stream.close()]);
  }

  /** Members that are asked over streams now. */
  fallen(): PeerId[] {
    const nowMs = this.#now();
    return [...this.#fallen].filter(([, untilMs]) => untilMs > nowMs).map(([peer]) => peer);
  }

  async #choose(to: Member, lane: Lane, signal: AbortSignal): Promise<PooledExchange> {
    if ((this.#fallen.get(to.id) ?? 0) > this.#now()) return this.#stream;
    const reached = await this.#tryTls(to, lane, signal);
    if (reached === 'reached') {
      this.#fallen.delete(to.id);
      return this.#tls;
    }
    if (reached === 'late') return this.#stream;
    try {
      await this.#stream.reach(to, lane, signal);
    } catch (error) {
      signal.throwIfAborted();
      // Neither way: it is the member that is not there, and what could not be dialled is told.
      throw hasCode(error, 'peer-unreachable') ? reached : error;
    }
    this.#remember(to.id);
    return this.#stream;
  }

  /** @returns the error when it cannot be dialled; late: nobody knows yet, but the question does not wait for it. */
  async #tryTls(to: Member, lane: Lane, signal: AbortSignal): Promise<'reached' | 'late' | Error> {
    const reached = this.#tls.reach(to, lane, signal).then(
      () => 'reached' as const,
      (error: unknown) => {
        if (!hasCode(error, 'peer-unreachable')) throw error;
        return error;
      },
    );
    const late = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => late.resolve('late'), this.#patienceMs);
    try {
      const first = await Promise.race([reached, late.promise]);
      if (first === 'late')
        reached.then(
          (outcome) => {
            if (outcome !== 'reached') this.#remember(to.id);
          },
          () => undefined,
        );
      return first;
    } finally {
      clearTimeout(timer);
    }
  }

  #remember(peer: PeerId): void {
    const nowMs = this.#now();
    for (const [other, untilMs] of this.#fallen) if (untilMs <= nowMs) this.#fallen.delete(other);
    this.#fallen.set(peer, nowMs + this.#againMs);
  }
}
