import { isIP, isIPv6 } from 'node:net';
import { splitHostPort } from '../../../config/address.ts';

/** Of libp2p, when none is given. */
export const DEFAULT_PORT = 4006;

/** Where somebody may be found: an address, or a name that has to be resolved first. */
export interface Endpoint {
  /** An IP address without brackets, or a name. */
  readonly host: string;
  readonly port: number;
  /** 4 or 6 when only such addresses of the name are meant. */
  readonly family: 4 | 6 | undefined;
  /** Who has to be there; undefined: anybody. */
  readonly peer: string | undefined;
}

const FAMILIES: Readonly<Record<string, 4 | 6>> = { dns4: 4, dns6: 6 };

/** @param text `host[:port]` or a TCP multiaddr, as the configuration takes them (config/multiaddr.ts). */
export function parseEndpoint(text: string): Endpoint {
  if (text.startsWith('/')) {
    const [, protocol = '', host = '', , port = '', , peer] = text.split('/');
    return { host, port: Number(port), family: FAMILIES[protocol], peer };
  }
  const { host, port } = splitHostPort(text);
  return {
    host: host.replace(/^\[|\]$/g, ''),
    port: port === undefined ? DEFAULT_PORT : Number(port),
    family: undefined,
    peer: undefined,
  };
}

/** @param ip without brackets. */
export function toMultiaddr(ip: string, port: number, peer?: string): string {
  const suffix = peer === undefined ? '' : `/p2p/${peer}`;
  return `/${isIPv6(ip) ? 'ip6' : 'ip4'}/${ip}/tcp/${port}${suffix}`;
}

/** Addresses of the wanted family; what is no IP address falls out. */
export function ofFamily(addresses: readonly string[], family: 4 | 6 | undefined): string[] {
  return addresses.filter((address) => {
    const version = isIP(address);
    return version !== 0 && (family === undefined || version === family);
  });
}

/** Splits the peer id off the end of a multiaddr. */
export function splitPeer(address: string): { readonly base: string; readonly peer: string | undefined } {
  const at = address.lastIndexOf('/p2p/');
  if (at < 0) return { base: address, peer: undefined };
  return { base: address.slice(0, at), peer: address.slice(at + '/p2p/'.length) };
}
