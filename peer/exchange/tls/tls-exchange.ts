import type { LookupFunction } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Exchange, ExchangeHandlers } from '../../exchange.ts';
import type { Identity } from '../../identity/identity.ts';
import type { NetworkKey } from '../../identity/network-key.ts';
import type { NetworkKeys } from '../../identity/network-keys.ts';
import type { HostPort, Member, PeerId } from '../../member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from '../../messages.ts';
import { Answerer } from '../answerer.ts';
import { Answering } from '../answering.ts';
import { Asking } from '../asking.ts';
import type { Caller } from '../caller.ts';
import { refusedBy } from '../channel.ts';
import { type ExchangeCounters, NO_COUNTERS } from '../counters.ts';
import { countFailedDial } from '../dial-failure.ts';
import type { ExchangeLoad, ExchangeParts } from '../exchange-parts.ts';
import type { FrameReader } from '../frame-reader.ts';
import { DEFAULT_LIMITS, type ExchangeLimits } from '../limits.ts';
import { Refusals } from '../refusals.ts';
import { makeThrottles, type Throttles } from '../throttles.ts';
import { type DialParts, dialAddress } from './dial.ts';
import { dialMember } from './dial-member.ts';
import { Listener } from './listener.ts';
import { TlsChannel } from './tls-channel.ts';
import { type TlsIdentity, tlsIdentity } from './tls-identity.ts';

export interface TlsExchangeOptions extends ExchangeParts {
  readonly identity: Identity;
  readonly keys: NetworkKeys;
  /** For addresses that are names; the system's resolver without it. */
  readonly lookup?: LookupFunction;
  /** Shared with the other transports of the node; its own without it. */
  readonly throttles?: Throttles;
}

/** Pieces and planner questions over mutually authenticated TLS 1.3 sockets of our own (4005). */
export class TlsExchange implements Exchange {
  readonly #options: TlsExchangeOptions;
  readonly #limits: ExchangeLimits;
  readonly #counters: ExchangeCounters;
  readonly #throttles: Throttles;
  readonly #refusals: Refusals;
  readonly #identity: TlsIdentity;
  readonly #asking: Asking;
  readonly #answering: Answering;
  /** Under which a connection was proven. */
  readonly #provenBy = new WeakMap<Caller | Answerer, NetworkKey>();
  readonly #forgetKeys: () => void;
  #listener: Listener | undefined;

  private constructor(options: TlsExchangeOptions, identity: TlsIdentity) {
    this.#options = options;
    this.#identity = identity;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#counters = options.counters ?? NO_COUNTERS;
    this.#throttles = options.throttles ?? makeThrottles(this.#limits);
    this.#refusals = new Refusals({ transport: 'tls', log: options.log, counters: this.#counters });
    this.#asking = new Asking((to, signal) => this.#dial(to, signal), this.#limits);
    this.#answering = new Answering(this.#limits);
    this.#forgetKeys = options.keys.onChange(() => this.#rekey());
  }

  static async create(options: TlsExchangeOptions): Promise<TlsExchange> {
    return new TlsExchange(options, await tlsIdentity(options.identity));
  }

  /** @returns what is really listened on. @throws DamselflyError `listen-failed` */
  async listen(addresses: readonly HostPort[], handlers: ExchangeHandlers): Promise<HostPort[]> {
    const listener = new Listener({
      identity: this.#identity,
      keys: this.#options.keys,
      limits: this.#limits,
      refusals: this.#refusals,
      isCutOff: (peer) => this.#options.isCutOff?.(peer) ?? false,
      makeRoom: () => this.#answering.makeRoom(),
      onMember: (peer, key, socket, reader) => this.#letIn({ peer, key, socket, reader, handlers }),
    });
    this.#listener = listener;
    try {
      return await listener.listen(addresses);
    } catch (error) {
      await listener.close();
      throw error;
    }
  }

  ask(to: Member, ask: Ask, onPlan: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    return this.#asking.ask(to, ask, onPlan, signal);
  }

  report(to: Member, reports: readonly Report[], signal: AbortSignal): Promise<void> {
    return this.#asking.report(to, reports, signal);
  }

  inquire(to: Member, inquiry: Inquiry, signal: AbortSignal): Promise<Knowledge> {
    return this.#asking.inquire(to, inquiry, signal);
  }

  fetch(
    to: Member,
    fetch: Fetch,
    onProgress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<FetchOutcome> {
    return this.#asking.fetch(to, fetch, onProgress, signal);
  }

  connected(): readonly PeerId[] {
    return [...new Set([...this.#asking.connected(), ...this.#answering.connected()])];
  }

  load(): ExchangeLoad {
    const { active, queued } = this.#throttles.uploads;
    return { connections: this.connected().length, uploads: { active, queued } };
  }

  /** Ends the connections of members that are cut off from now on. */
  cutOff(peer: PeerId): void {
    this.#asking.retire((caller) => caller.peer === peer);
    this.#answering.retire((answerer) => answerer.peer === peer);
  }

  async close(): Promise<void> {
    this.#forgetKeys();
    this.#answering.close();
    await Promise.all([this.#asking.close(), this.#listener?.close()]);
  }

  async #dial(to: Member, signal: AbortSignal): Promise<Caller> {
    if (this.#options.isCutOff?.(to.id) === true) throw refusedBy('its word was wrong before');
    const parts: DialParts = {
      transport: 'tls',
      identity: this.#identity,
      keys: this.#options.keys,
      lookup: this.#options.lookup,
      pool: this.#options.pool,
      limits: this.#limits,
      counters: this.#counters,
      download: this.#throttles.download,
    };
    this.#counters.dialed('tls');
    try {
      const { caller, key } = await dialMember(
        to,
        (address, ended) => dialAddress(parts, address, to.id, ended),
        {
          nextAddressMs: this.#limits.nextAddressMs,
          discard: (late) => late.caller.destroy(),
          signal,
        },
      );
      this.#provenBy.set(caller, key);
      if (!this.#isAccepted(key)) caller.retire(this.#limits.retireMs);
      this.#counters.handshakeDone('tls', 'out');
      return caller;
    } catch (error) {
      countFailedDial({ transport: 'tls', error, to, counters: this.#counters, refusals: this.#refusals });
      throw error;
    }
  }

  #letIn(member: {
    peer: PeerId;
    key: NetworkKey;
    socket: TLSSocket;
    reader: FrameReader;
    handlers: ExchangeHandlers;
  }): void {
    const { peer, key, socket, reader, handlers } = member;
    const channel = new TlsChannel({
      peer,
      socket,
      stallMs: this.#limits.stallMs,
      onClose: () => {
        answerer.closed();
        this.#answering.remove(answerer);
      },
    });
    const answerer = new Answerer(channel, reader, {
      transport: 'tls',
      handlers,
      limits: this.#limits,
      counters: this.#counters,
      log: this.#options.log,
      ...this.#throttles,
    });
    this.#provenBy.set(answerer, key);
    this.#answering.add(answerer);
    this.#counters.handshakeDone('tls', 'in');
  }

  /** Whoever proved a key that is no longer accepted finishes what is under way, and proves itself again. */
  #rekey(): void {
    const isDue = (one: Caller | Answerer): boolean => {
      const key = this.#provenBy.get(one);
      return key !== undefined && !this.#isAccepted(key);
    };
    this.#asking.retire(isDue);
    this.#answering.retire(isDue);
  }

  #isAccepted(key: NetworkKey): boolean {
    return this.#options.keys.accepted.some((one) => one.equals(key));
  }
}
