import { Agent, type Dispatcher, Pool, ProxyAgent } from 'undici';
import { DamselflyError } from '../errors.ts';
import {
  CONNECT_TIMEOUT_MS,
  type ConnectorFactory,
  checkProxied,
  guardedConnector,
  guardedLookup,
  permitter,
  socketConnector,
  trusting,
} from './connector.ts';
import { NameResolver } from './name-resolver.ts';
import { hostOf, type ProxyForUrl, proxyFromEnvironment } from './proxy-env.ts';

/** Idle connections are kept for about as long as one pull pauses; a server's Keep-Alive hint shortens it. */
const KEEP_ALIVE_MS = 20_000;
const MAX_KEEP_ALIVE_MS = 60_000;
/** A proxy that takes the connection but does not answer CONNECT. */
const CONNECT_ANSWER_MS = 5_000;

/** How one target is reached: what decides which sockets may be shared. */
export interface Route {
  /** PEM of the authorities to trust besides the system's. */
  readonly ca: string | undefined;
  /** The proxy of `origins[].proxy`; undefined: the environment's. */
  readonly proxy: string | undefined;
  /** The operator named this host and port (never by a wildcard): a loopback address is meant. */
  readonly listed: boolean;
}

export interface PoolsOptions {
  /** Connections per target; requests beyond wait inside the pool. */
  readonly connections: number;
  readonly onForbidden: () => void;
  readonly resolver?: Pick<NameResolver, 'resolve'> | undefined;
  readonly connectorFactory?: ConnectorFactory | undefined;
  readonly proxyForUrl?: ProxyForUrl | undefined;
  readonly connectTimeoutMs?: number | undefined;
}

/** Kept-alive HTTP/1.1 connections, apart by what may not be mixed: trusted authorities, proxy, being listed. */
export class Pools {
  readonly #options: PoolsOptions;
  readonly #resolver: Pick<NameResolver, 'resolve'>;
  readonly #factory: ConnectorFactory;
  readonly #proxyForUrl: ProxyForUrl;
  /** Bounded by the configuration: its authorities, its proxies and those of the environment. */
  readonly #agents = new Map<string, Dispatcher>();
  #closed = false;

  constructor(options: PoolsOptions) {
    this.#options = options;
    this.#resolver = options.resolver ?? new NameResolver();
    this.#factory = options.connectorFactory ?? socketConnector;
    this.#proxyForUrl = options.proxyForUrl ?? proxyFromEnvironment(process.env);
  }

  /** @throws DamselflyError `target-forbidden` where a proxy would be asked for an address that we may not reach ourselves. */
  dispatcherFor(url: URL, route: Route): { dispatcher: Dispatcher; viaProxy: boolean } {
    if (this.#closed) throw new DamselflyError('shutting-down', 'The node is stopping');
    const proxy = route.proxy ?? this.#proxyForUrl(url);
    if (proxy !== undefined) checkProxied(hostOf(url), permitter(route.listed, this.#options.onForbidden));
    const key = JSON.stringify([proxy ?? null, route.ca ?? null, route.listed]);
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      agent = proxy === undefined ? this.#direct(route) : this.#proxied(proxy, route.ca);
      this.#agents.set(key, agent);
    }
    return { dispatcher: agent, viaProxy: proxy !== undefined };
  }

  /** Ends every connection, whatever is under way on it. */
  async close(): Promise<void> {
    this.#closed = true;
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    await Promise.allSettled(agents.map((agent) => agent.destroy()));
  }

  #settings() {
    return {
      connections: this.#options.connections,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
    };
  }

  #direct(route: Route): Dispatcher {
    const connect = guardedConnector({
      factory: this.#factory,
      resolver: this.#resolver,
      ca: route.ca,
      listed: route.listed,
      onForbidden: this.#options.onForbidden,
      timeoutMs: this.#options.connectTimeoutMs,
    });
    return new Agent({ ...this.#settings(), connect });
  }

  /** The proxy itself is the operator's word and may be anywhere; names of targets are resolved by it. */
  #proxied(proxy: string, ca: string | undefined): Dispatcher {
    const timeout = this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const lookup = guardedLookup(this.#resolver, (_host, addresses) => addresses);
    return new ProxyAgent({
      ...this.#settings(),
      uri: proxy,
      connectTimeout: timeout,
      proxyTls: { lookup, allowH2: false, timeout } as ProxyAgent.Options['proxyTls'],
      ...(ca === undefined ? {} : { requestTls: { ...trusting(ca), allowH2: false } }),
      clientFactory: (origin, options) =>
        new Pool(origin, { ...options, headersTimeout: CONNECT_ANSWER_MS } as Pool.Options),
    } as ProxyAgent.Options);
  }
}
