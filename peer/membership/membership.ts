import type { Libp2p, StreamHandler } from '@libp2p/interface';
import type { PeerConfig } from '../../config/sections/peer.ts';
import type { ExchangeMetrics } from '../../src/observe/exchange-metrics.ts';
import type { Logger } from '../../src/observe/log.ts';
import type { MembershipMetrics } from '../../src/observe/membership-metrics.ts';
import type { Identity } from '../identity/identity.ts';
import type { NetworkKeys } from '../identity/network-keys.ts';
import { verifySignature } from '../identity/signature.ts';
import type { HostPort, Member, MemberView, PeerId } from '../member.ts';
import { controlAddresses, dataAddresses, hostAddresses, hostPortOf } from './announce.ts';
import { Complaints } from './complaints.ts';
import { Connections, PIECES_PROTOCOL } from './connections.ts';
import type { ResolveName } from './discovery/source.ts';
import { configuredSources } from './discovery/sources.ts';
import {
  EXCHANGE_PROTOCOL,
  ExchangeStreams,
  MAX_EXCHANGE_STREAMS,
  type MemberStreams,
} from './exchange-streams.ts';
import { Gossip } from './gossip.ts';
import { createLibp2pNode, listenOn } from './libp2p-node.ts';
import { Meetings } from './meetings.ts';
import { NetworkProtector } from './network-protector.ts';
import { Memory, NOTHING_REMEMBERED, nextEpoch, type Remembered, readRemembered } from './remembered.ts';
import { Roll } from './roll.ts';
import { MAX_ZONE_LENGTH } from './row.ts';
import { Suspicions } from './suspicions.ts';
import { closeQuietly, MEMBERS_PROTOCOL, REACH_PROTOCOL, Wires } from './wires.ts';

/** Of each member, in each direction. */
const MAX_LINK_STREAMS = 4;
const MAX_REACH_STREAMS = 16;
const TICK_MS = 250;
const TIDY_MS = 5_000;
const UPKEEP_MS = 30_000;
/** Of one identity, in a run: a lost file costs one. */
const MAX_OUTBIDS = 3;

/** What it counts; `SwarmMetrics` of src/observe fits. */
export interface MembershipCounters {
  readonly exchange: Pick<ExchangeMetrics, 'dialed' | 'dialFailed' | 'handshakeDone' | 'refused'>;
  readonly membership: Pick<MembershipMetrics, 'suspected' | 'message' | 'changed'>;
}

export interface MembershipOptions {
  readonly identity: Identity;
  readonly keys: NetworkKeys;
  readonly config: Pick<PeerConfig, 'listen' | 'announce' | 'zone' | 'discovery'>;
  /** What the data plane really listens on; a wildcard host stands for all addresses. */
  readonly data: readonly HostPort[];
  readonly resolve: ResolveName;
  /** `cache.dir`: epoch and addresses are kept there. undefined: nowhere. */
  readonly folder: string | undefined;
  readonly log: Logger;
  readonly metrics: MembershipCounters;
  readonly wallClock?: () => number;
}

/** Who is in the swarm: libp2p, discovery and the member table, put together. */
export class Membership implements MemberView {
  readonly #o: MembershipOptions;
  readonly #node: Libp2p;
  readonly #protector: NetworkProtector;
  readonly #connections: Connections;
  readonly #gossip: Gossip;
  readonly #wires: Wires;
  readonly #complaints: Complaints;
  readonly #suspicions = new Suspicions();
  readonly #meetings: Meetings;
  readonly #memory: Memory;
  readonly #exchange: ExchangeStreams;
  readonly #listeners = new Set<() => void>();
  readonly #roll = new Roll();
  readonly #ended = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #flushTimer: NodeJS.Timeout | undefined;
  /** At the last upkeep. */
  #outbids = 0;

  private constructor(
    options: MembershipOptions,
    parts: { node: Libp2p; protector: NetworkProtector; complaints: Complaints; remembered: Remembered },
  ) {
    const now = (): number => performance.now();
    const { identity, log, metrics, config } = options;
    const { node, protector, complaints, remembered } = parts;
    this.#memory = new Memory(options.folder, remembered, log);
    const epoch = nextEpoch(remembered, (options.wallClock ?? Date.now)());
    this.#o = options;
    this.#node = node;
    this.#protector = protector;
    this.#complaints = complaints;
    this.#connections = new Connections({
      node,
      protector,
      keys: options.keys,
      metrics,
      complaints,
      protocols: new Set([MEMBERS_PROTOCOL, REACH_PROTOCOL, EXCHANGE_PROTOCOL, PIECES_PROTOCOL]),
    });
    this.#wires = new Wires({
      gossip: () => this.#gossip,
      connections: this.#connections,
      complaints,
      metrics,
      ended: this.#ended.signal,
    });
    this.#gossip = new Gossip({
      self: {
        id: identity.id,
        zone: (config.zone ?? '').slice(0, MAX_ZONE_LENGTH),
        epoch,
        version: 0,
        isLeaving: false,
        ...this.#addresses(),
      },
      seal: { sign: (bytes) => identity.sign(bytes), verify: verifySignature },
      now,
      random: Math.random,
      dial: (member) => this.#wires.open(member),
      reach: (member) => this.#wires.reach(member),
      flushIn: (delayMs) => {
        this.#flushTimer = setTimeout(() => this.#gossip.flush(), delayMs);
        this.#flushTimer.unref();
      },
      onChange: (ids) => this.#changed(ids),
      onForgery: (link) => this.#wires.forged(link),
    });
    this.#meetings = new Meetings({
      gossip: this.#gossip,
      connections: this.#connections,
      wires: this.#wires,
      sources: configuredSources(config.discovery, { node, resolve: options.resolve, log }),
      ended: this.#ended.signal,
    });
    this.#exchange = new ExchangeStreams(this.#connections, this.#ended.signal);
  }

  /** @throws DamselflyError `listen-failed` */
  static async start(options: MembershipOptions): Promise<Membership> {
    const remembered =
      options.folder === undefined ? NOTHING_REMEMBERED : await readRemembered(options.folder);
    const complaints = new Complaints(options.log);
    const protector = new NetworkProtector({
      keys: options.keys,
      onStranger: (remote) => {
        options.metrics.exchange.refused('libp2p', 'in', 'network-key');
        complaints.stranger(remote);
      },
    });
    const { config, identity } = options;
    let node: Libp2p | undefined;
    try {
      const { listen, discovery } = config;
      node = await createLibp2pNode({ identity, protector, listen, mdns: discovery.mdns });
      // Before it listens, so that the first to dial finds them.
      const ready = Promise.withResolvers<Membership>();
      await handle(node, MEMBERS_PROTOCOL, MAX_LINK_STREAMS, async (stream, connection) => {
        (await ready.promise).#wires.accept(stream, connection);
      });
      await handle(node, REACH_PROTOCOL, MAX_REACH_STREAMS, closeQuietly);
      for (const protocol of [EXCHANGE_PROTOCOL, PIECES_PROTOCOL]) {
        await handle(node, protocol, MAX_EXCHANGE_STREAMS, async (stream, connection) => {
          (await ready.promise).#exchange.accept(stream, connection);
        });
      }
      await listenOn(node, listen);
      const membership = new Membership(options, { node, protector, complaints, remembered });
      ready.resolve(membership);
      await membership.#begin();
      return membership;
    } catch (error) {
      await node?.stop();
      protector.close();
      throw error;
    }
  }

  /** For the exchange over libp2p. */
  get streams(): MemberStreams {
    return this.#exchange;
  }

  get self(): Member {
    return this.#gossip.table.self.member;
  }

  live(): readonly Member[] {
    return this.#gossip.table.live();
  }

  find(id: PeerId): Member | undefined {
    const entry = this.#gossip.table.entry(id);
    return entry === undefined || entry.state === 'gone' ? undefined : entry.member;
  }

  suspect(id: PeerId): void {
    if (this.find(id) === undefined || id === this.self.id) return;
    this.#o.metrics.membership.suspected();
    this.#suspicions.add(id, performance.now());
    this.#gossip.detector.doubt(id);
  }

  isSuspect(id: PeerId): boolean {
    return this.#suspicions.has(id, performance.now()) || this.#gossip.table.entry(id)?.state === 'suspect';
  }

  /** It answered somewhere else: on the data plane. */
  heardFrom(id: PeerId): void {
    this.#gossip.heardFrom(id);
    if (this.#suspicions.end(id)) this.#tell();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Multiaddrs that libp2p really listens on, without the peer id. */
  listening(): string[] {
    return this.#node.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*$/, ''));
  }

  /** Members with a libp2p connection, in either direction. */
  connected(): PeerId[] {
    return this.#node.getPeers().map((peer) => peer.toString() as PeerId);
  }

  /** Says goodbye, and closes everything within some two seconds. */
  async stop(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    for (const timer of this.#timers) clearInterval(timer);
    this.#meetings.stop();
    await this.#wires.flushedAfter(() => this.#gossip.leave());
    clearTimeout(this.#flushTimer);
    this.#ended.abort(new Error('the node is stopping'));
    await this.#save();
    await this.#node.stop();
    this.#protector.close();
  }

  async #begin(): Promise<void> {
    const { metrics } = this.#o;
    this.#node.addEventListener('connection:open', ({ detail }) => {
      metrics.exchange.handshakeDone('libp2p', detail.direction === 'inbound' ? 'in' : 'out');
    });
    await this.#save();
    this.#every(TICK_MS, () => this.#tick());
    this.#every(TIDY_MS, () => this.#connections.tidy(performance.now()));
    this.#every(UPKEEP_MS, () => this.#upkeep());
    this.#meetings.start(this.#memory.addresses);
  }

  #every(periodMs: number, work: () => void): void {
    const timer = setInterval(work, periodMs);
    timer.unref();
    this.#timers.push(timer);
  }

  #tick(): void {
    this.#gossip.tick();
    if (this.#suspicions.expire(performance.now())) this.#tell();
    this.#meetings.goOn();
  }

  #upkeep(): void {
    const { data, control } = this.#addresses();
    const { self } = this;
    // A host may get another address while it runs.
    if (JSON.stringify([data, control]) !== JSON.stringify([self.data, self.control])) {
      this.#gossip.renew({ data, control });
    }
    if (this.#gossip.table.outbids > this.#outbids + MAX_OUTBIDS) this.#complaints.twin();
    this.#outbids = this.#gossip.table.outbids;
    void this.#save();
  }

  #addresses(): Pick<Member, 'data' | 'control'> {
    const { announce } = this.#o.config;
    const host = hostAddresses();
    return {
      data: dataAddresses(this.#o.data, announce, host),
      control: controlAddresses(this.listening().map(hostPortOf), announce, host),
    };
  }

  #changed(ids: ReadonlySet<PeerId>): void {
    const { log, metrics } = this.#o;
    let isNews = false;
    for (const id of ids) {
      const entry = this.#gossip.table.entry(id);
      const turn = entry === undefined ? 'same' : this.#roll.turn(entry);
      isNews ||= turn !== 'same';
      if (entry === undefined || id === this.self.id) continue;
      if (turn === 'joined') {
        metrics.membership.changed('joined');
        log.debug({ peer: id }, 'a member joined');
      } else if (turn === 'left') {
        const { isLeaving } = entry.signed.row;
        metrics.membership.changed('left');
        log.debug({ peer: id, isGoodbye: isLeaving }, 'a member left');
        this.#suspicions.end(id);
        this.#connections.forget(id);
        if (!isLeaving) this.#meetings.lost(entry.member.control);
      }
    }
    if (isNews) this.#tell();
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        // It is called in the middle of a conversation, which is not to end by it.
        this.#o.log.error({ err: error }, 'a listener to changes of the membership failed');
      }
    }
  }

  #save(): Promise<void> {
    const others = this.live().filter(({ id }) => id !== this.self.id);
    return this.#memory.keep(this.self.epoch, others);
  }
}

async function handle(
  node: Libp2p,
  protocol: string,
  maxStreams: number,
  handler: StreamHandler,
): Promise<void> {
  await node.handle(protocol, handler, { maxInboundStreams: maxStreams, maxOutboundStreams: maxStreams });
}
