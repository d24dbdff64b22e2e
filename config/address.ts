import { isIP, isIPv6 } from 'node:net';
import { REFUSED } from './field.ts';

export interface TcpAddress {
  readonly kind: 'tcp';
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  /** 0 to let the system choose. */
  readonly port: number;
}

export interface UnixAddress {
  readonly kind: 'unix';
  readonly path: string;
}

export type ListenAddress = TcpAddress | UnixAddress;

export const LISTEN_EXPECTED =
  'host:port such as 127.0.0.1:4001 (IPv6 in brackets: [::1]:4001), or a list of them';
export const PROXY_LISTEN_EXPECTED =
  'host:port such as 127.0.0.1:4001 (IPv6 in brackets: [::1]:4001), unix:/path, or a list of them';

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** Letters, digits and hyphens per label; what looks like an IPv4 address must be one. */
export function isHostName(name: string): boolean {
  if (name.length > 253) return false;
  const labels = name.split('.');
  if (/^\d+$/.test(labels.at(-1) ?? '')) return isIP(name) === 4;
  return labels.every((label) => LABEL.test(label));
}

/** A host of a URL or address: name, IPv4, or IPv6 in brackets. @returns it lower case and without brackets. */
export function readHost(host: string): string | typeof REFUSED {
  if (host.startsWith('[')) {
    const inner = host.slice(1, -1);
    return host.endsWith(']') && isIPv6(inner) && !inner.includes('%') ? inner.toLowerCase() : REFUSED;
  }
  return isHostName(host) ? host.toLowerCase() : REFUSED;
}

export function readPort(port: string, min: 0 | 1): number | typeof REFUSED {
  if (!/^\d{1,5}$/.test(port)) return REFUSED;
  const number = Number(port);
  return number >= min && number <= 65535 ? number : REFUSED;
}

/** Splits `host:port` at the colon after a bracketed or plain host; the port is undefined when there is none. */
export function splitHostPort(value: string): { host: string; port: string | undefined } {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/s.exec(value);
  if (match === null) return { host: value, port: undefined };
  return { host: match[1] ?? '', port: match[2] };
}

export function tcpAddress(value: unknown): TcpAddress | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const parts = splitHostPort(value);
  if (parts.port === undefined) return REFUSED;
  const host = readHost(parts.host);
  const port = readPort(parts.port, 0);
  return host === REFUSED || port === REFUSED ? REFUSED : { kind: 'tcp', host, port };
}

/** As {@link tcpAddress}, and `unix:/absolute/path`. */
export function proxyAddress(value: unknown): ListenAddress | typeof REFUSED {
  if (typeof value !== 'string' || !value.startsWith('unix:')) return tcpAddress(value);
  const path = value.slice('unix:'.length);
  // 107 bytes is what sockaddr_un holds on Linux, its closing zero apart.
  const fits = path.startsWith('/') && !path.includes('\0') && Buffer.byteLength(path) <= 107;
  return fits ? { kind: 'unix', path } : REFUSED;
}

/** `host:port` as one writes it, brackets included. */
export function formatAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${isIPv6(address.host) ? `[${address.host}]` : address.host}:${address.port}`;
}
