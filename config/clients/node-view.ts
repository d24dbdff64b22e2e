import { isIPv6 } from 'node:net';
import type { OriginId } from '../../src/blob/upstream.ts';
import { type ListenAddress, splitHostPort, type TcpAddress } from '../address.ts';
import type { Config } from '../schema.ts';
import { formatHost, type HostPattern } from '../web.ts';
import { UnsupportedRequest } from './unsupported-request.ts';

/** A TCP port of the node where images can be pulled, as clients on its host reach it. */
export interface NodeListener {
  /** `http://127.0.0.1:4001`, `https://[::1]:4001`: no path, no closing slash. A wildcard address shows as loopback. */
  readonly url: string;
  /** `127.0.0.1:4001`. */
  readonly host: string;
  /** What a request that names no registry means here; undefined: it is answered 502. */
  readonly origin: OriginId | undefined;
  /** The certificate that an https listener shows, PEM. */
  readonly certFile: string | undefined;
  /** It listens on all addresses of the host. */
  readonly wildcard: boolean;
}

/** What the clients' configuration has to know of a node's. */
export interface NodeView {
  /** The first TCP address of `proxy.listen`, or what `--node` named. */
  readonly main: NodeListener;
  /** All of them, the main one first. */
  readonly listeners: readonly NodeListener[];
  /** Host names that mean an origin on every listener (`origins[].names`), as written there. */
  readonly names: ReadonlyMap<string, OriginId>;
  readonly defaultOrigin: OriginId | undefined;
  /** Registries that the configuration names, as images' names have them: `docker.io`. The default origin is first. */
  readonly knownRegistries: readonly string[];
  /** Regular expressions of `proxy.rules`. */
  readonly rules: readonly string[];
  /** The origin that a registry's name means: by https, or http where the configuration says so. */
  originOf(registry: string): OriginId;
}

/**
 * @param main in place of the first address of `proxy.listen`.
 * @throws UnsupportedRequest when the node has no TCP address of which the port is known.
 */
export function nodeView(config: Config, main?: TcpAddress): NodeView {
  const { proxy, origins } = config;
  const own = main === undefined ? proxy.listen.filter(hasPort) : [main, ...proxy.listen.filter(hasPort)];
  const listeners = [
    ...own.map((address, index) =>
      listenerAt(
        address,
        proxy.defaultOrigin,
        main !== undefined && index === 0 ? undefined : proxy.tls?.certFile,
      ),
    ),
    ...proxy.listeners
      .filter(({ blob }) => blob === undefined)
      .flatMap(({ listen, origin, tls }) =>
        listen
          .filter(hasPort)
          .map((address) => listenerAt(address, origin ?? proxy.defaultOrigin, tls?.certFile)),
      ),
  ];
  const [first] = listeners;
  if (first === undefined || own.length === 0) {
    throw new UnsupportedRequest(
      'proxy.listen has no TCP address with a port of its own, and image clients reach nothing else: ' +
        'add one such as 127.0.0.1:4001 to it, or name the port with --node',
    );
  }
  const originOf = (registry: string): OriginId => {
    const host = CANONICAL[registry] ?? registry;
    const defaultOrigin = proxy.defaultOrigin;
    if (defaultOrigin !== undefined && new URL(defaultOrigin).host === host) return defaultOrigin;
    const entry = mostExact(origins, host);
    return new URL(`${entry?.insecure === true ? 'http' : 'https'}://${host}`).origin as OriginId;
  };
  const exact = origins.filter((origin) => !origin.host.wildcard);
  return {
    main: first,
    listeners,
    names: new Map(
      exact.flatMap(({ host, names }) => names.map((name) => [name, originOf(formatHost(host))])),
    ),
    defaultOrigin: proxy.defaultOrigin,
    knownRegistries: [
      ...new Set([
        ...(proxy.defaultOrigin === undefined ? [] : [registryOf(proxy.defaultOrigin)]),
        ...exact.map(({ host }) => registryOf(`https://${formatHost(host)}`)),
      ]),
    ],
    rules: proxy.rules.map(({ regex }) => regex.source),
    originOf,
  };
}

/** The listener that a client's address leads to; undefined: it is not this node's. @param text a URL or `host:port`. */
export function listenerFor(node: NodeView, text: string): NodeListener | undefined {
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null) return undefined;
  const { host, port = url.protocol === 'https:' ? '443' : '80' } = splitHostPort(url.host);
  return node.listeners.find((listener) => {
    const own = splitHostPort(listener.host);
    if (own.port !== port) return false;
    return (
      own.host === host ||
      listener.wildcard ||
      (isLoopback(own.host) && isLoopback(host)) ||
      node.names.has(`${host}:${port}`) ||
      node.names.has(host)
    );
  });
}

/** What a request means that reaches the node under this address and names no registry. */
export function namelessOrigin(node: NodeView, text: string): OriginId | undefined {
  const listener = listenerFor(node, text);
  if (listener === undefined) return undefined;
  const host = text.replace(/^[a-z]+:\/\//i, '').replace(/\/.*$/s, '');
  // A listener's own origin goes before that of a Host name, a default origin after it.
  if (listener.origin !== undefined && listener.origin !== node.defaultOrigin) return listener.origin;
  return node.names.get(host) ?? listener.origin;
}

const CANONICAL: Readonly<Record<string, string>> = {
  'docker.io': 'registry-1.docker.io',
  'index.docker.io': 'registry-1.docker.io',
};

/** As an image's name has it. */
function registryOf(origin: string): string {
  const { host } = new URL(origin);
  return host === 'registry-1.docker.io' || host === 'index.docker.io' ? 'docker.io' : host;
}

function hasPort(address: ListenAddress): address is TcpAddress {
  return address.kind === 'tcp' && address.port !== 0;
}

function listenerAt(
  address: TcpAddress,
  origin: OriginId | undefined,
  certFile: string | undefined,
): NodeListener {
  const wildcard = address.host === '0.0.0.0' || address.host === '::';
  const name = wildcard ? (address.host === '::' ? '::1' : '127.0.0.1') : address.host;
  const host = `${isIPv6(name) ? `[${name}]` : name}:${address.port}`;
  return { url: `${certFile === undefined ? 'http' : 'https'}://${host}`, host, origin, certFile, wildcard };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d+){3}$/.test(host);
}

function mostExact<T extends { readonly host: HostPattern }>(
  origins: readonly T[],
  wanted: string,
): T | undefined {
  const { host, port } = splitHostPort(wanted.toLowerCase());
  const plain = host.replace(/^\[|\]$/g, '');
  const fitting = origins.filter(
    ({ host: pattern }) =>
      (pattern.port === undefined || String(pattern.port) === port) && matches(pattern, plain),
  );
  return (
    fitting.find((origin) => !origin.host.wildcard) ??
    fitting.toSorted((a, b) => b.host.host.length - a.host.host.length)[0]
  );
}

function matches(pattern: HostPattern, host: string): boolean {
  if (!pattern.wildcard) return pattern.host === host;
  const parts = pattern.host.split('*').map((part) => part.replace(/[.\\+?^${}()|[\]]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(host);
}
