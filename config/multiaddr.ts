import { isIPv4, isIPv6 } from 'node:net';
import { isHostName, readHost, readPort, splitHostPort } from './address.ts';
import { REFUSED } from './field.ts';

export const MULTIADDR_EXPECTED =
  'a TCP multiaddr such as /ip4/0.0.0.0/tcp/4006 or /ip6/::/tcp/4006, or a list of them';
export const DIALABLE_EXPECTED =
  'host:port (of 4006) such as 10.0.0.5:4006, or multiaddrs such as /dns/node-a/tcp/4006, one or a list';

const HOST_CHECKS: Readonly<Record<string, (host: string) => boolean>> = {
  ip4: isIPv4,
  ip6: isIPv6,
  dns: isHostName,
  dns4: isHostName,
  dns6: isHostName,
};

/** The forms of multiaddr that this node can listen on or dial: TCP, perhaps with the peer id at its end. */
export function multiaddr(value: unknown): string | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const match = /^\/(\w+)\/([^/]+)\/tcp\/(\d+)(\/p2p\/[A-Za-z0-9]{20,128})?$/.exec(value);
  if (match === null) return REFUSED;
  const [, protocol = '', host = '', port = ''] = match;
  const known = HOST_CHECKS[protocol]?.(host) ?? false;
  return known && readPort(port, 0) !== REFUSED ? value : REFUSED;
}

/** Something to dial: a multiaddr, or `host[:port]` as people write it (kept as it is; the port is 4006 by default). */
export function dialable(value: unknown): string | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  if (value.startsWith('/')) return multiaddr(value);
  const { host, port } = splitHostPort(value);
  if (readHost(host) === REFUSED) return REFUSED;
  return port !== undefined && readPort(port, 1) === REFUSED ? REFUSED : value;
}
