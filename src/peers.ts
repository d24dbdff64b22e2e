import { LRUCache } from 'lru-cache';
import type { TcpAddress } from '../config/address.ts';
import type { PeerConfig } from '../config/sections/peer.ts';
import { AutoExchange } from '../peer/exchange/auto.ts';
import { DEFAULT_LIMITS } from '../peer/exchange/limits.ts';
import type { PooledExchange } from '../peer/exchange/pooled-exchange.ts';
import { StreamExchange } from '../peer/exchange/stream/stream-exchange.ts';
import { makeThrottles } from '../peer/exchange/throttles.ts';
import { TlsExchange } from '../peer/exchange/tls/tls-exchange.ts';
import type { ExchangeHandlers, PieceBufferPool } from '../peer/exchange.ts';
import { loadIdentity } from '../peer/identity/identity-file.ts';
import { NetworkKeys, NetworkKeyWatch } from '../peer/identity/network-keys.ts';
import { verifySignature } from '../peer/identity/signature.ts';
import type { HostPort } from '../peer/member.ts';
import { Membership } from '../peer/membership/membership.ts';
import type { Realm } from '../peer/messages.ts';
import { realmOf } from '../peer/realm.ts';
import type { Shelf } from '../peer/shelf.ts';
import { Swarm } from '../peer/swarm/swarm.ts';
import { Trust } from '../peer/trust/trust.ts';
import type { PieceSink, PieceSource } from './blob/source.ts';
import type { OriginId } from './blob/upstream.ts';
import type { Logger } from './observe/log.ts';
import type { SwarmMetrics } from './observe/swarm-metrics.ts';
import { NameResolver } from './origin/name-resolver.ts';
import { type PeerPresence, presenceOf } from './peer-presence.ts';
import type { FactTable } from './store/facts.ts';

/** Clients may name any. */
const MAX_ORIGINS = 1_000;

export interface PeersOptions {
  readonly config: PeerConfig;
  /** `cache.dir`: the identity is kept there. */
  readonly dir: string;
  readonly origin: PieceSource;
  readonly sink: PieceSink;
  readonly shelf: Shelf;
  readonly pool: PieceBufferPool;
  readonly facts: FactTable;
  /** What is configured for an origin. */
  readonly settingsOf: (origin: OriginId) => { readonly share: boolean; readonly listed: boolean };
  readonly metrics: SwarmMetrics;
  /** Bytes of verified pieces that came from members. */
  readonly received: (bytes: number) => void;
  readonly log: Logger;
}

/**
 * Builds this node's part in the swarm and joins it, outermost part last: identity, data plane, members, the rest.
 * @param stops gets what takes it down again, in order.
 * @throws DamselflyError identity-unusable, network-key-invalid, listen-failed.
 */
export async function joinSwarm(
  options: PeersOptions,
  stops: (() => Promise<void> | void)[],
): Promise<{ readonly swarm: Swarm; readonly presence: PeerPresence }> {
  const { config, log, metrics, pool, dir } = options;
  const resolver = new NameResolver();
  const identity = await loadIdentity(dir);
  const keys = await networkKeys(config, { log, stops });
  const limits = {
    ...DEFAULT_LIMITS,
    uploadBytesPerSecond: config.uploadBytesPerSecond,
    downloadBytesPerSecond: config.downloadBytesPerSecond,
  };
  /** The ports answer before the swarm is built: until then nobody is here. */
  let swarm: Swarm | undefined;
  let trust: Trust | undefined;
  const shared = {
    pool,
    log,
    counters: metrics.exchange,
    limits,
    throttles: makeThrottles(limits),
    isCutOff: (peer: Parameters<Trust['standing']['isQuarantined']>[0]) =>
      trust?.standing.isQuarantined(peer) ?? false,
  };
  const handlers = lateHandlers(() => swarm?.handlers);

  let tls: TlsExchange | undefined;
  let data: HostPort[] = [];
  if (config.transport !== 'libp2p') {
    const made = await TlsExchange.create({ ...shared, identity, keys });
    tls = made;
    stops.push(() => made.close());
    data = await made.listen(config.dataListen.map(hostPort), handlers);
  }
  const members = await Membership.start({
    identity,
    keys,
    config,
    data,
    resolve: async (name) => {
      const addresses = await resolver.resolve(name);
      if (addresses.length === 0) throw new Error('nobody knows the name');
      return [...addresses];
    },
    folder: dir,
    log,
    metrics,
  });
  stops.push(() => members.stop());
  const stream =
    config.transport === 'tls' ? undefined : new StreamExchange({ ...shared, streams: members.streams });
  if (stream !== undefined) {
    stops.push(() => stream.close());
    stream.listen(handlers);
  }
  const exchange = either(tls, stream);
  const realms = new Realms(options.settingsOf);
  const listen = { data: data.map(({ host, port }) => `${host}:${port}`), control: members.listening() };
  const made = new Swarm({
    view: members,
    exchange,
    shelf: options.shelf,
    pool,
    origin: options.origin,
    sink: options.sink,
    trust: (events) => {
      trust = new Trust({
        signatory: { self: identity.id, sign: (bytes) => identity.sign(bytes), verify: verifySignature },
        facts: options.facts,
        shelf: options.shelf,
        events,
        level: config.trust,
        isListed: (realm) => realms.isListed(realm),
        now: () => performance.now(),
      });
      return trust;
    },
    realmOf: ({ origin }) => realms.of(origin),
    listen,
    connections: () => ({ tls: tls?.connected().length ?? 0, libp2p: members.connected().length }),
    metrics,
    received: options.received,
    log,
  });
  swarm = made;
  stops.push(() => made.stop());
  log.info({ peer: identity.id, ...listen }, 'joined the swarm');
  return { swarm: made, presence: presenceOf(config, members.self, listen) };
}

/** Of the origins that clients of this node have named. */
class Realms {
  readonly #settingsOf: PeersOptions['settingsOf'];
  readonly #byOrigin = new LRUCache<OriginId, { readonly realm: Realm; readonly isShared: boolean }>({
    max: MAX_ORIGINS,
  });
  /** Realms of origins that the operator has named; a wildcard names many. */
  readonly #listed = new LRUCache<Realm, true>({ max: MAX_ORIGINS });

  constructor(settingsOf: PeersOptions['settingsOf']) {
    this.#settingsOf = settingsOf;
  }

  /** Undefined for an origin that does not share. */
  of(origin: OriginId): Realm | undefined {
    let known = this.#byOrigin.get(origin);
    if (known === undefined) {
      const { share, listed } = this.#settingsOf(origin);
      known = { realm: realmOf(origin), isShared: share };
      this.#byOrigin.set(origin, known);
      if (listed) this.#listed.set(known.realm, true);
    }
    return known.isShared ? known.realm : undefined;
  }

  isListed(realm: Realm): boolean {
    return this.#listed.has(realm);
  }
}

async function networkKeys(
  { networkKeyFile }: PeerConfig,
  { log, stops }: { log: Logger; stops: (() => Promise<void> | void)[] },
): Promise<NetworkKeys> {
  // The configuration lets it be missing only with peer.insecure.
  if (networkKeyFile === undefined) return NetworkKeys.insecure();
  const keys = await NetworkKeys.load(networkKeyFile);
  const watch = new NetworkKeyWatch({ path: networkKeyFile, keys, log });
  watch.start();
  stops.push(() => watch.stop());
  return keys;
}

function either(
  tls: PooledExchange | undefined,
  stream: PooledExchange | undefined,
): PooledExchange | AutoExchange {
  if (tls !== undefined && stream !== undefined) return new AutoExchange({ tls, stream });
  const only = tls ?? stream;
  if (only === undefined) throw new TypeError('peer.transport names at least one transport');
  return only;
}

function hostPort({ host, port }: TcpAddress): HostPort {
  return { host, port };
}

function lateHandlers(made: () => ExchangeHandlers | undefined): ExchangeHandlers {
  return {
    onAsk: async (from, ask, answer, signal) => await made()?.onAsk(from, ask, answer, signal),
    onReport: (from, reports) => made()?.onReport(from, reports),
    onInquiry: (from, inquiry) => {
      const handlers = made();
      if (handlers !== undefined) return handlers.onInquiry(from, inquiry);
      return { ...inquiry, size: undefined, holders: [], leases: [], isFresh: true };
    },
    awaitPiece: async (from, fetch, signal) => (await made()?.awaitPiece(from, fetch, signal)) ?? false,
    onFetch: async (from, fetch, signal) => (await made()?.onFetch(from, fetch, signal)) ?? { kind: 'gone' },
    othersWith: (from, fetch) => made()?.othersWith?.(from, fetch) ?? [],
  };
}
