import type { PeerId } from '../member.ts';
import { type Connections, OwnAddress } from './connections.ts';
import { Contacts } from './discovery/contacts.ts';
import type { DiscoverySource } from './discovery/source.ts';
import type { Gossip } from './gossip.ts';
import type { Wires } from './wires.ts';

const MEET_MS = 6_000;

export interface MeetingsOptions {
  readonly gossip: Gossip;
  readonly connections: Connections;
  readonly wires: Wires;
  readonly sources: readonly DiscoverySource[];
  /** Aborted when the node stops. */
  readonly ended: AbortSignal;
}

/** Goes to the addresses that discovery found, and makes links of those where somebody is. */
export class Meetings {
  readonly #o: MeetingsOptions;
  readonly #contacts = new Contacts({ now: () => performance.now(), random: Math.random });

  constructor(options: MeetingsOptions) {
    this.#o = options;
  }

  /** @param remembered addresses of an earlier run. */
  start(remembered: readonly string[]): void {
    this.#contacts.remember(remembered);
    for (const source of this.#o.sources) {
      source.start((addresses) => {
        this.#contacts.found(source.name, addresses);
        this.goOn();
      });
    }
    this.goOn();
  }

  stop(): void {
    for (const source of this.#o.sources) source.stop();
  }

  /** Members were lost without a goodbye: they may be behind a broken network, or come back under another address. */
  lost(addresses: readonly string[]): void {
    this.#contacts.remember(addresses);
    for (const source of this.#o.sources) source.refresh();
  }

  /** Dials what is due. To be called some times a second. */
  goOn(): void {
    if (this.#o.ended.aborted) return;
    const { table } = this.#o.gossip;
    this.#contacts.isOwn(table.self.member.control);
    for (const address of this.#contacts.next(table.live(), !this.#o.gossip.isContent())) {
      void this.#meet(address);
    }
  }

  async #meet(address: string): Promise<void> {
    const signal = AbortSignal.any([this.#o.ended, AbortSignal.timeout(MEET_MS)]);
    const isLonely = (): boolean => this.#o.gossip.table.live().length <= 1;
    try {
      const connection = await this.#o.connections.toAddress(address, signal);
      const id = connection.remotePeer.toString() as PeerId;
      const isLinked = this.#o.gossip.links().some((link) => link.peer === id);
      if (!isLinked) await this.#o.wires.link(connection, signal);
      this.#contacts.ended(address, { kind: 'met', id }, isLonely());
    } catch (error) {
      const kind = error instanceof OwnAddress ? 'self' : 'failed';
      this.#contacts.ended(address, { kind }, isLonely());
    }
    this.goOn();
  }
}
