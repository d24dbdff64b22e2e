import type { Exchange, ExchangeHandlers } from '../exchange.ts';
import type { Member, PeerId } from '../member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from '../messages.ts';
import { Answerer } from './answerer.ts';
import { Answering } from './answering.ts';
import { Asking } from './asking.ts';
import type { Caller, CallerParts } from './caller.ts';
import type { Lane } from './caller-pool.ts';
import { type Channel, type CloseListener, refusedBy } from './channel.ts';
import { type ExchangeCounters, NO_COUNTERS, type TransportName } from './counters.ts';
import { countFailedDial } from './dial-failure.ts';
import type { ExchangeLoad, ExchangeParts } from './exchange-parts.ts';
import type { FrameReader } from './frame-reader.ts';
import { DEFAULT_LIMITS, type ExchangeLimits } from './limits.ts';
import { Refusals } from './refusals.ts';
import { makeThrottles, type Throttles } from './throttles.ts';

/** What is the same over sockets and over streams: pools, bounds, counters, and who is let in. */
export abstract class PooledExchange implements Exchange {
  protected readonly transport: TransportName;
  protected readonly limits: ExchangeLimits;
  protected readonly counters: ExchangeCounters;
  protected readonly refusals: Refusals;
  protected readonly asking: Asking;
  protected readonly answering: Answering;
  readonly #parts: ExchangeParts;
  readonly #throttles: Throttles;

  constructor(transport: TransportName, parts: ExchangeParts) {
    this.transport = transport;
    this.#parts = parts;
    this.limits = { ...DEFAULT_LIMITS, ...parts.limits };
    this.counters = parts.counters ?? NO_COUNTERS;
    this.#throttles = parts.throttles ?? makeThrottles(this.limits);
    this.refusals = new Refusals({ transport, log: parts.log, counters: this.counters });
    this.asking = new Asking((to, signal, lane) => this.#dial(to, signal, lane), this.limits);
    this.answering = new Answering(this.limits);
  }

  ask(to: Member, ask: Ask, onPlan: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    return this.asking.ask(to, ask, onPlan, signal);
  }

  report(to: Member, reports: readonly Report[], signal: AbortSignal): Promise<void> {
    return this.asking.report(to, reports, signal);
  }

  inquire(to: Member, inquiry: Inquiry, signal: AbortSignal): Promise<Knowledge> {
    return this.asking.inquire(to, inquiry, signal);
  }

  fetch(
    to: Member,
    fetch: Fetch,
    onProgress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<FetchOutcome> {
    return this.asking.fetch(to, fetch, onProgress, signal);
  }

  /** Makes the connection that a question of that kind would go over, unless it is there. */
  reach(to: Member, lane: Lane, signal: AbortSignal): Promise<void> {
    return this.asking.reach(to, lane, signal);
  }

  /** Peers to which a connection of ours is open. */
  reached(): readonly PeerId[] {
    return this.asking.connected();
  }

  /** Whether the connection that a question of that kind would go over is there. */
  isReached(peer: PeerId, lane: Lane): boolean {
    return this.asking.isReached(peer, lane);
  }

  connected(): readonly PeerId[] {
    return [...new Set([...this.asking.connected(), ...this.answering.connected()])];
  }

  load(): ExchangeLoad {
    const { active, queued } = this.#throttles.uploads;
    return { connections: this.connected().length, uploads: { active, queued } };
  }

  /** Ends the connections of a member that is cut off from now on (`isCutOff`). */
  cutOff(peer: PeerId): void {
    this.asking.retire((caller) => caller.peer === peer);
    this.answering.retire((answerer) => answerer.peer === peer);
  }

  async close(): Promise<void> {
    this.answering.close();
    await this.asking.close();
  }

  /** One connection, proven. Ends by the signal. */
  protected abstract connect(
    to: Member,
    parts: CallerParts,
    signal: AbortSignal,
    lane: Lane,
  ): Promise<Caller>;

  protected isCutOff(peer: PeerId): boolean {
    return this.#parts.isCutOff?.(peer) ?? false;
  }

  /** A member has come, and is answered from here on. */
  protected letIn(
    reader: FrameReader,
    handlers: ExchangeHandlers,
    open: (onClose: CloseListener) => Channel,
  ): Answerer {
    const channel = open(() => {
      answerer.closed();
      this.answering.remove(answerer);
    });
    const answerer = new Answerer(channel, reader, {
      transport: this.transport,
      handlers,
      limits: this.limits,
      counters: this.counters,
      log: this.#parts.log,
      ...this.#throttles,
    });
    this.answering.add(answerer);
    this.counters.handshakeDone(this.transport, 'in');
    return answerer;
  }

  async #dial(to: Member, signal: AbortSignal, lane: Lane): Promise<Caller> {
    if (this.isCutOff(to.id)) throw refusedBy('what it vouched for was wrong before');
    const { transport, counters, limits, refusals } = this;
    counters.dialed(transport);
    try {
      const parts = {
        transport,
        counters,
        limits,
        pool: this.#parts.pool,
        download: this.#throttles.download,
      };
      const caller = await this.connect(to, parts, signal, lane);
      counters.handshakeDone(transport, 'out');
      return caller;
    } catch (error) {
      countFailedDial({ transport, error, to, counters, refusals });
      throw error;
    }
  }
}
