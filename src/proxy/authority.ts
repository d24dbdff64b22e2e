import { DamselflyError } from '../errors.ts';

/** A host as a client named it, lower case (IPv6 in brackets), and the port if one was given. */
export interface Authority {
  readonly host: string;
  readonly port: number | undefined;
}

export type Scheme = 'http' | 'https';

/** An origin as a client named it. Aliases (docker.io) and default ports are not resolved yet. */
export interface NamedOrigin extends Authority {
  /** `https` when only a host was given. */
  readonly scheme: Scheme;
}

/** RFC 1035 §2.3.4 bounds a name to 255 octets; an IPv6 literal is far shorter. */
const MAX_HOST_LENGTH = 255;
const AUTHORITY = /^((?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?)|(?:\[[0-9a-f:.]{2,45}\]))(?::(\d{1,5}))?$/i;
const NAMED_ORIGIN = /^(?:(https?):\/\/)?([^/?#]*)\/?$/i;

/**
 * Reads `host`, `host:port` or `[v6]:port` (RFC 3986 §3.2). User information is refused: RFC 9110 §4.2.4 calls it an
 * error in a request, and it would be a credential in a place where nobody looks for one.
 */
export function parseAuthority(text: string): Authority | null {
  const match = AUTHORITY.exec(text);
  if (match === null) return null;
  const [, host = '', digits] = match;
  if (host.length > MAX_HOST_LENGTH) return null;
  if (digits === undefined) return { host: host.toLowerCase(), port: undefined };
  const port = Number(digits);
  if (port < 1 || port > 65_535) return null;
  return { host: host.toLowerCase(), port };
}

/** Reads the value of `X-Dragonfly-Registry` or of `ns`: an http or https URL without a path, or a host. */
export function parseNamedOrigin(text: string, where: string): NamedOrigin {
  const match = NAMED_ORIGIN.exec(text.trim());
  const authority = match === null ? null : parseAuthority(match[2] ?? '');
  if (match === null || authority === null) {
    throw new DamselflyError(
      'request-malformed',
      `${where} names no origin: write a host, host:port, or http(s)://host[:port] without a path`,
      { facts: { where } },
    );
  }
  return { ...authority, scheme: match[1]?.toLowerCase() === 'http' ? 'http' : 'https' };
}
