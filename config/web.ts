import { isIPv6 } from 'node:net';
import type { OriginId } from '../src/blob/upstream.ts';
import { isHostName, readHost, readPort, splitHostPort } from './address.ts';
import { REFUSED } from './field.ts';

/** A host with or without port, perhaps with wildcards, as `origins[].host` takes it. */
export interface HostPattern {
  /** Lower case, IPv6 without brackets; a wildcard `*` stands for any run of characters. */
  readonly host: string;
  /** undefined: the default port of the origin's scheme. */
  readonly port: number | undefined;
  readonly wildcard: boolean;
}

export const ORIGIN_EXPECTED =
  'a URL such as https://registry.example.com or http://10.0.0.5:5000 without path, user or query, or a host[:port] (then https)';
export const ORIGIN_URL_EXPECTED =
  'a URL such as https://cache.example.com/hub without user or query, or a host[:port] (then https)';
export const HOST_PATTERN_EXPECTED =
  'a host, with an optional port and * as wildcard: registry.example.com, 10.0.0.5:5000, *.example.com (no scheme and no path)';
export const HOST_EXPECTED = 'host names with an optional port: mirror.example.com, 127.0.0.1:4001';

/** `https://host[:port]` or `host[:port]`, normalised. */
export function originAddress(value: unknown): OriginId | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const hasScheme = /^https?:\/\//i.test(value);
  if (!hasScheme && value.includes('/')) return REFUSED;
  const url = webUrl(hasScheme ? value : `https://${value}`);
  return url === REFUSED || url.pathname !== '/' ? REFUSED : (url.origin as OriginId);
}

/** An http or https URL that carries no secret. */
function webUrl(value: unknown): URL | typeof REFUSED {
  if (typeof value !== 'string' || !/^https?:\/\/[^/]/i.test(value)) return REFUSED;
  const url = URL.parse(value);
  if (url === null || url.username !== '' || url.password !== '' || /[?#@]/.test(value)) return REFUSED;
  return readHost(url.hostname) === REFUSED ? REFUSED : url;
}

/** As {@link originAddress}, with a path: what goes before `/v2/`. @returns it without a slash at its end. */
export function originUrl(value: unknown): string | typeof REFUSED {
  const origin = originAddress(value);
  if (origin !== REFUSED) return origin;
  const url = webUrl(value);
  return url === REFUSED ? REFUSED : url.href.replace(/\/+$/, '');
}

/** As {@link originAddress}, but http when no scheme is given: for a neighbour on this host. */
export function plainUrl(value: unknown): string | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const url = webUrl(/^https?:\/\//i.test(value) ? value : `http://${value}`);
  return url === REFUSED || url.pathname !== '/' ? REFUSED : url.origin;
}

export function hostPattern(value: unknown): HostPattern | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const parts = splitHostPort(value);
  const wildcard = parts.host.includes('*');
  // A wildcard is checked as if a letter stood there, so that what surrounds it must still be a host's text.
  const probe = wildcard && !/^[\d.*]+$/.test(parts.host) ? parts.host.replaceAll('*', 'a') : parts.host;
  const host = wildcard && probe === parts.host ? parts.host : readHost(probe);
  if (host === REFUSED) return REFUSED;
  if (parts.port === undefined) return { host: spelled(parts.host), port: undefined, wildcard };
  const port = readPort(parts.port, 1);
  return port === REFUSED ? REFUSED : { host: spelled(parts.host), port, wildcard };
}

/** A Host header's value that stands for an origin: lower case, with the port when one was given. */
export function hostWithPort(value: unknown): string | typeof REFUSED {
  const pattern = hostPattern(value);
  if (pattern === REFUSED || pattern.wildcard) return REFUSED;
  return formatHost(pattern);
}

export function formatHost(pattern: HostPattern): string {
  const host = isIPv6(pattern.host) ? `[${pattern.host}]` : pattern.host;
  return pattern.port === undefined ? host : `${host}:${pattern.port}`;
}

/** A DNS name with an optional port: what `peer.discovery.dns` resolves. */
export function dnsName(value: unknown): string | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const { host, port } = splitHostPort(value);
  // A closing dot says that the name is absolute, so that the resolver tries no search domain.
  if (!isHostName(host.replace(/\.$/, ''))) return REFUSED;
  return port !== undefined && readPort(port, 1) === REFUSED ? REFUSED : value.toLowerCase();
}

function spelled(host: string): string {
  return host.replace(/^\[|\]$/g, '').toLowerCase();
}
