import type { LookupFunction } from 'node:net';
import type { ExchangeHandlers } from '../../exchange.ts';
import type { Identity } from '../../identity/identity.ts';
import type { NetworkKey } from '../../identity/network-key.ts';
import type { NetworkKeys } from '../../identity/network-keys.ts';
import type { HostPort, Member } from '../../member.ts';
import type { Answerer } from '../answerer.ts';
import type { Caller, CallerParts } from '../caller.ts';
import type { ExchangeParts } from '../exchange-parts.ts';
import { PooledExchange } from '../pooled-exchange.ts';
import { dialAddress } from './dial.ts';
import { dialMember } from './dial-member.ts';
import { Listener } from './listener.ts';
import { TlsChannel } from './tls-channel.ts';
import { type TlsIdentity, tlsIdentity } from './tls-identity.ts';

export interface TlsExchangeOptions extends ExchangeParts {
  readonly identity: Identity;
  readonly keys: NetworkKeys;
  /** For addresses that are names; the system's resolver without it. */
  readonly lookup?: LookupFunction;
}

/** Pieces and planner questions over mutually authenticated TLS 1.3 sockets of our own (4005). */
export class TlsExchange extends PooledExchange {
  readonly #options: TlsExchangeOptions;
  readonly #identity: TlsIdentity;
  /** Under which a connection was proven. */
  readonly #provenBy = new WeakMap<Caller | Answerer, NetworkKey>();
  readonly #forgetKeys: () => void;
  #listener: Listener | undefined;

  private constructor(options: TlsExchangeOptions, identity: TlsIdentity) {
    super('tls', options);
    this.#options = options;
    this.#identity = identity;
    this.#forgetKeys = options.keys.onChange(() => this.#rekey());
  }

  static async create(options: TlsExchangeOptions): Promise<TlsExchange> {
    return new TlsExchange(options, await tlsIdentity(options.identity));
  }

  /** @returns what is really listened on. @throws DamselflyError `listen-failed` */
  async listen(addresses: readonly HostPort[], handlers: ExchangeHandlers): Promise<HostPort[]> {
    const { limits, refusals } = this;
    const listener = new Listener({
      identity: this.#identity,
      keys: this.#options.keys,
      limits,
      refusals,
      isCutOff: (peer) => this.isCutOff(peer),
      makeRoom: () => this.answering.makeRoom(),
      onMember: (peer, key, socket, reader) => {
        const { stallMs } = limits;
        const answerer = this.letIn(
          reader,
          handlers,
          (onClose) => new TlsChannel({ peer, socket, stallMs, onClose }),
        );
        this.#provenBy.set(answerer, key);
      },
    });
    this.#listener = listener;
    try {
      return await listener.listen(addresses);
    } catch (error) {
      await listener.close();
      throw error;
    }
  }

  override async close(): Promise<void> {
    this.#forgetKeys();
    await Promise.all([super.close(), this.#listener?.close()]);
  }

  protected async connect(to: Member, shared: CallerParts, signal: AbortSignal): Promise<Caller> {
    const { keys, lookup } = this.#options;
    const parts = { ...shared, identity: this.#identity, keys, lookup };
    const { caller, key } = await dialMember(
      to,
      (address, ended) => dialAddress(parts, address, to.id, ended),
      {
        nextAddressMs: this.limits.nextAddressMs,
        discard: (late) => late.caller.destroy(),
        signal,
      },
    );
    this.#provenBy.set(caller, key);
    // They may have changed in the meantime.
    if (!this.#isAccepted(key)) caller.retire(this.limits.retireMs);
    return caller;
  }

  /** Whoever proved a key that is no longer accepted finishes what is under way, and proves itself again. */
  #rekey(): void {
    const isDue = (one: Caller | Answerer): boolean => {
      const key = this.#provenBy.get(one);
      return key !== undefined && !this.#isAccepted(key);
    };
    this.asking.retire(isDue);
    this.answering.retire(isDue);
  }

  #isAccepted(key: NetworkKey): boolean {
    return this.#options.keys.accepted.some((one) => one.equals(key));
  }
}
