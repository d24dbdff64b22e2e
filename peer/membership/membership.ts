import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import type { PeerConfig } from '../../config/sections/peer.ts';
import type { Logger } from '../../src/observe/log.ts';
import type { SwarmMetrics } from '../../src/observe/swarm-metrics.ts';
import type { Identity } from '../identity/identity.ts';
import type { NetworkKeys } from '../identity/network-keys.ts';
import { verifySignature } from '../identity/signature.ts';
import type { HostPort, Member, MemberView, PeerId } from '../member.ts';
import { controlAddresses, dataAddresses, hostAddresses, hostPortOf } from './announce.ts';
import { Connections, OwnAddress, unreachable, untilAborted } from './connections.ts';
import { Contacts } from './discovery/contacts.ts';
import { LocalNetwork } from './discovery/local-network.ts';
import { Names } from './discovery/names.ts';
import type { DiscoverySource, ResolveName } from './discovery/source.ts';
import { Frames } from './frames.ts';
import { Gossip } from './gossip.ts';
import { startLibp2pNode } from './libp2p-node.ts';
import type { Link, LinkWire } from './link.ts';
import { decodeMessage, encodeMessage } from './message.ts';
import { NetworkProtector } from './network-protector.ts';
import { nextEpoch, readRemembered, writeRemembered } from './remembered.ts';
import { Strangers } from './strangers.ts';
import { Suspicions } from './suspicions.ts';

const MEMBERS_PROTOCOL = '/damselfly/members/1';
/** A stream of it that can be opened is a sign of life; it carries nothing. */
const REACH_PROTOCOL = '/damselfly/reach/1';
const EXCHANGE_PROTOCOL = '/damselfly/exchange/1';
const MAX_EXCHANGE_STREAMS = 256;

const TICK_MS = 250;
const TIDY_MS = 5_000;
const UPKEEP_MS = 30_000;
const LINK_MS = 3_000;
const REACH_MS = 1_500;
/** peer/exchange.ts: could not be dialled within a second. */
const OPEN_MS = 1_000;
const STOP_MS = 1_500;

export type MembershipMetrics = Pick<
  SwarmMetrics,
  | 'dialed'
  | 'dialFailed'
  | 'handshakeDone'
  | 'refused'
  | 'suspected'
  | 'membershipMessage'
  | 'membershipChanged'
>;

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
  readonly metrics: MembershipMetrics;
  readonly wallClock?: () => number;
}

/** libp2p streams between members, for the exchange's second implementation. */
export interface MemberStreams {
  /** @throws DamselflyError `peer-unreachable`, `peer-refused`; the signal's reason. */
  open(to: Member, signal: AbortSignal): Promise<Stream>;
  /** Streams that others open; one that nobody handles is reset. */
  onStream(handler: (from: PeerId, stream: Stream) => void): void;
}

/** Who is in the swarm: libp2p, discovery and the member table, put together. */
export class Membership implements MemberView {
  readonly streams: MemberStreams;
  readonly #o: MembershipOptions;
  readonly #node: Libp2p;
  readonly #protector: NetworkProtector;
  readonly #connections: Connections;
  readonly #contacts: Contacts;
  readonly #gossip: Gossip;
  readonly #suspicions = new Suspicions();
  readonly #sources: readonly DiscoverySource[];
  readonly #listeners = new Set<() => void>();
  /** Members that were counted as joined. */
  readonly #joined = new Set<PeerId>();
  readonly #frames = new Set<Frames>();
  readonly #ended = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #flushTimer: NodeJS.Timeout | undefined;
  #exchange: ((from: PeerId, stream: Stream) => void) | undefined;
  #savedAddresses = '';
  #savedEpoch = 0;

  private constructor(options: MembershipOptions, node: Libp2p, protector: NetworkProtector, epoch: number) {
    const now = (): number => performance.now();
    const { identity, log, metrics, config } = options;
    this.#o = options;
    this.#node = node;
    this.#protector = protector;
    this.#contacts = new Contacts({ now, random: Math.random });
    this.#connections = new Connections({
      node,
      protector,
      keys: options.keys,
      metrics,
      protocols: new Set([MEMBERS_PROTOCOL, REACH_PROTOCOL, EXCHANGE_PROTOCOL]),
    });
    this.#gossip = new Gossip({
      self: {
        id: identity.id,
        zone: config.zone ?? '',
        epoch,
        version: 0,
        isLeaving: false,
        ...this.#addresses(),
      },
      seal: { sign: (bytes) => identity.sign(bytes), verify: verifySignature },
      now,
      random: Math.random,
      dial: (member) => this.#openLink(member),
      reach: (member) => this.#reach(member),
      flushIn: (delayMs) => {
        this.#flushTimer = setTimeout(() => this.#gossip.flush(), delayMs);
        this.#flushTimer.unref();
      },
      onChange: (ids) => this.#changed(ids),
      onForgery: (link) =>
        this.#broken(link.peer, link.isOutbound, 'it passed on a row that its member did not sign'),
    });
    const named = {
      static: config.discovery.static,
      dns: config.discovery.dns,
      bootstrap: config.discovery.bootstrap,
    };
    this.#sources = [
      ...Object.entries(named)
        .filter(([, endpoints]) => endpoints.length > 0)
        .map(([name, endpoints]) => new Names({ name, endpoints, resolve: options.resolve, log })),
      ...(config.discovery.mdns ? [new LocalNetwork(node)] : []),
    ];
    this.streams = {
      open: (to, signal) => this.#openExchange(to, signal),
      onStream: (handler) => {
        this.#exchange = handler;
      },
    };
  }

  /** @throws DamselflyError `listen-failed` */
  static async start(options: MembershipOptions): Promise<Membership> {
    const remembered = options.folder === undefined ? undefined : await readRemembered(options.folder);
    const epoch = nextEpoch(remembered ?? { epoch: 0, addresses: [] }, (options.wallClock ?? Date.now)());
    const strangers = new Strangers(options.log);
    const protector = new NetworkProtector({
      keys: options.keys,
      onStranger: (remote) => {
        options.metrics.refused('libp2p', 'in', 'network-key');
        strangers.refused(remote);
      },
    });
    const { config, identity } = options;
    try {
      const node = await startLibp2pNode({
        identity,
        protector,
        listen: config.listen,
        mdns: config.discovery.mdns,
      });
      const membership = new Membership(options, node, protector, epoch);
      await membership.#begin(remembered?.addresses ?? []);
      return membership;
    } catch (error) {
      protector.close();
      throw error;
    }
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
    this.#o.metrics.suspected();
    this.#suspicions.add(id, performance.now());
    this.#gossip.detector.doubt(id);
    this.#tell();
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
    for (const source of this.#sources) source.stop();
    const goodbyes = [...this.#frames];
    this.#gossip.leave();
    clearTimeout(this.#flushTimer);
    const flushed = Promise.all(goodbyes.map((frames) => frames.flushed()));
    await untilAborted(flushed, AbortSignal.timeout(STOP_MS)).catch(() => undefined);
    this.#ended.abort(new Error('the node is stopping'));
    await this.#save();
    await this.#node.stop();
    this.#protector.close();
  }

  async #begin(remembered: readonly string[]): Promise<void> {
    const { metrics } = this.#o;
    this.#node.addEventListener('connection:open', ({ detail }) => {
      metrics.handshakeDone('libp2p', detail.direction === 'inbound' ? 'in' : 'out');
    });
    await this.#node.handle(
      MEMBERS_PROTOCOL,
      (stream, connection) => this.#attach(stream, connection, false),
      {
        maxInboundStreams: 4,
        maxOutboundStreams: 4,
      },
    );
    await this.#node.handle(REACH_PROTOCOL, (stream) => closeQuietly(stream), { maxInboundStreams: 16 });
    await this.#node.handle(EXCHANGE_PROTOCOL, (stream, connection) => this.#onExchange(stream, connection), {
      maxInboundStreams: MAX_EXCHANGE_STREAMS,
      maxOutboundStreams: MAX_EXCHANGE_STREAMS,
    });
    await this.#save();
    this.#contacts.remember(remembered);
    for (const source of this.#sources) {
      source.start((addresses) => {
        this.#contacts.found(source.name, addresses);
        this.#contacts.isOwn(this.self.control);
        this.#meetSome();
      });
    }
    this.#every(TICK_MS, () => this.#tick());
    this.#every(TIDY_MS, () => this.#connections.tidy(performance.now()));
    this.#every(UPKEEP_MS, () => this.#upkeep());
    this.#meetSome();
  }

  #every(periodMs: number, work: () => void): void {
    const timer = setInterval(work, periodMs);
    timer.unref();
    this.#timers.push(timer);
  }

  #tick(): void {
    this.#gossip.tick();
    if (this.#suspicions.expire(performance.now())) this.#tell();
    this.#meetSome();
  }

  #upkeep(): void {
    const { data, control } = this.#addresses();
    const { self } = this;
    // A host may get another address while it runs.
    if (JSON.stringify([data, control]) !== JSON.stringify([self.data, self.control])) {
      this.#gossip.renew({ data, control });
    }
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

  #meetSome(): void {
    if (this.#ended.signal.aborted) return;
    for (const address of this.#contacts.next(this.live(), !this.#gossip.isContent()))
      void this.#meet(address);
  }

  /** Goes to an address where somebody may be. */
  async #meet(address: string): Promise<void> {
    const signal = this.#within(LINK_MS);
    const isLonely = (): boolean => this.live().length <= 1;
    try {
      const connection = await this.#connections.toAddress(address, signal);
      const id = connection.remotePeer.toString() as PeerId;
      this.#contacts.ended(address, { kind: 'met', id }, isLonely());
      if (!this.#gossip.links().some((link) => link.peer === id)) await this.#link(connection, signal);
    } catch (error) {
      this.#contacts.ended(address, { kind: error instanceof OwnAddress ? 'self' : 'failed' }, isLonely());
    }
    this.#meetSome();
  }

  async #openLink(member: Member): Promise<boolean> {
    const signal = this.#within(LINK_MS);
    try {
      await this.#link(await this.#connections.toMember(member, signal), signal);
      return true;
    } catch {
      return false;
    }
  }

  async #link(connection: Connection, signal: AbortSignal): Promise<void> {
    this.#attach(await connection.newStream(MEMBERS_PROTOCOL, { signal }), connection, true);
  }

  async #reach(member: Member): Promise<boolean> {
    const signal = this.#within(REACH_MS);
    const before = this.#connections.existing(member.id);
    try {
      const connection = await this.#connections.toMember(member, signal);
      closeQuietly(await connection.newStream(REACH_PROTOCOL, { signal }));
      return true;
    } catch {
      // Nothing comes back on it: whoever comes next dials anew.
      before?.abort(new Error('no sign of life'));
      return false;
    }
  }

  #attach(stream: Stream, connection: Connection, isOutbound: boolean): void {
    const peer = connection.remotePeer.toString() as PeerId;
    const { metrics } = this.#o;
    let link: Link | undefined;
    const frames = new Frames(stream, {
      onFrame: (bytes) => {
        if (link === undefined) return;
        const message = decodeMessage(bytes);
        metrics.membershipMessage('received', message.kind, bytes.length);
        this.#gossip.received(link, message);
      },
      onEnd: (error) => {
        this.#frames.delete(frames);
        if (error?.name === 'MalformedBytes') this.#broken(peer, isOutbound, error.message);
        if (link !== undefined) this.#gossip.closed(link, false);
      },
    });
    this.#frames.add(frames);
    const wire: LinkWire = {
      send: (message) => {
        const bytes = encodeMessage(message);
        metrics.membershipMessage('sent', message.kind, bytes.length);
        frames.send(bytes);
      },
      close: () => frames.close(),
    };
    link = this.#gossip.opened(peer, isOutbound, wire);
  }

  async #openExchange(to: Member, signal: AbortSignal): Promise<Stream> {
    const limited = AbortSignal.any([signal, this.#within(OPEN_MS)]);
    try {
      const connection = await this.#connections.toMember(to, limited);
      return await connection.newStream(EXCHANGE_PROTOCOL, { signal: limited });
    } catch (error) {
      signal.throwIfAborted();
      throw unreachable(error);
    }
  }

  #onExchange(stream: Stream, connection: Connection): void {
    if (this.#exchange === undefined) stream.abort(new Error('this node takes no exchange streams'));
    else this.#exchange(connection.remotePeer.toString() as PeerId, stream);
  }

  #changed(ids: ReadonlySet<PeerId>): void {
    const { log, metrics } = this.#o;
    for (const id of ids) {
      const entry = this.#gossip.table.entry(id);
      if (entry === undefined || id === this.self.id) continue;
      if (entry.state !== 'gone') {
        if (this.#joined.has(id)) continue;
        this.#joined.add(id);
        metrics.membershipChanged('joined');
        log.debug({ peer: id }, 'a member joined');
      } else if (this.#joined.delete(id)) {
        metrics.membershipChanged('left');
        log.debug({ peer: id, isGoodbye: entry.signed.row.isLeaving }, 'a member left');
        this.#gone(entry.member, entry.signed.row.isLeaving);
      }
    }
    this.#contacts.isOwn(this.self.control);
    this.#tell();
  }

  #gone(member: Member, isGoodbye: boolean): void {
    this.#suspicions.end(member.id);
    if (isGoodbye) return;
    this.#contacts.remember(member.control);
    for (const source of this.#sources) source.refresh();
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** A member broke the protocol, or passed on a forgery. */
  #broken(peer: PeerId, isOutbound: boolean, why: string): void {
    this.#o.metrics.refused('libp2p', isOutbound ? 'out' : 'in', 'protocol');
    this.#o.log.warn({ peer, why }, 'a member broke the membership protocol');
  }

  async #save(): Promise<void> {
    const { folder, log } = this.#o;
    if (folder === undefined) return;
    const addresses = this.live()
      .filter(({ id }) => id !== this.self.id)
      .flatMap(({ control }) => control.slice(0, 1));
    const { epoch } = this.self;
    const text = addresses.join();
    if (text === this.#savedAddresses && epoch === this.#savedEpoch) return;
    try {
      await writeRemembered(folder, { epoch, addresses });
      this.#savedAddresses = text;
      this.#savedEpoch = epoch;
    } catch (error) {
      log.debug({ err: error }, 'the list of remembered members cannot be written');
    }
  }

  #within(ms: number): AbortSignal {
    return AbortSignal.any([this.#ended.signal, AbortSignal.timeout(ms)]);
  }
}

function closeQuietly(stream: Stream): void {
  stream.close({ signal: AbortSignal.timeout(LINK_MS) }).catch((error: Error) => stream.abort(error));
}
