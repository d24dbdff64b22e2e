import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { HostPort } from '../member.ts';
import { parseEndpoint, splitPeer, toMultiaddr } from './discovery/endpoint.ts';

/** An address of this host, and the interface that has it. */
export interface HostAddress {
  readonly address: string;
  readonly interface: string;
}

/** Bridges and the like: many hosts have the same address there, so that others reach themselves by it. */
const INNER_INTERFACE =
  /^(docker|br-|cni|virbr|veth|cali|flannel|lxc|lxd|podman|kube-|nodelocaldns|vnet|tunl|cilium)/;
const LOOPBACK = /^(127\.|::1$)/;
const LINK_LOCAL = /^fe[89ab]/i;
const WILDCARDS = new Set(['0.0.0.0', '::']);
const MAX_ADDRESSES = 16;

export function hostAddresses(): HostAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, infos]) =>
    (infos ?? []).map(({ address }) => ({ address, interface: name })),
  );
}

/**
 * What others are told to dial, best first.
 * @param listening what is really listened on; a wildcard stands for all addresses of its family.
 * @param announce `peer.announce`: when there is any, nothing else is told.
 */
export function controlAddresses(
  listening: readonly HostPort[],
  announce: readonly string[],
  host: readonly HostAddress[],
): string[] {
  if (announce.length > 0) return announce.map(announced).slice(0, MAX_ADDRESSES);
  return spread(listening, host).map((to) => toMultiaddr(to.host, to.port));
}

/** As {@link controlAddresses}, for the data plane: the announced hosts, with the port that is listened on. */
export function dataAddresses(
  listening: readonly HostPort[],
  announce: readonly string[],
  host: readonly HostAddress[],
): HostPort[] {
  const [first] = listening;
  if (announce.length === 0 || first === undefined) return spread(listening, host);
  const hosts = new Set(announce.map((text) => parseEndpoint(text).host));
  return [...hosts].slice(0, MAX_ADDRESSES).map((name) => ({ host: name, port: first.port }));
}

/** Of a TCP multiaddr. */
export function hostPortOf(address: string): HostPort {
  const { host, port } = parseEndpoint(address);
  return { host, port };
}

function announced(text: string): string {
  if (text.startsWith('/')) return splitPeer(text).base;
  const { host, port } = parseEndpoint(text);
  return isIP(host) === 0 ? `/dns/${host}/tcp/${port}` : toMultiaddr(host, port);
}

function spread(listening: readonly HostPort[], host: readonly HostAddress[]): HostPort[] {
  const inner = new Set(host.filter((at) => INNER_INTERFACE.test(at.interface)).map((at) => at.address));
  const all = listening
    .flatMap((to) => (WILDCARDS.has(to.host) ? expand(to, host) : [to]))
    .filter((to) => !LINK_LOCAL.test(to.host))
    .sort((a, b) => Number(inner.has(a.host)) - Number(inner.has(b.host)));
  // Loopback is told only where there is nothing else: a swarm on one host.
  const others = all.filter((to) => !LOOPBACK.test(to.host));
  const unique = new Map((others.length > 0 ? others : all).map((to) => [`${to.host} ${to.port}`, to]));
  return [...unique.values()].slice(0, MAX_ADDRESSES);
}

/** `::` is listened on for IPv4 as well. */
function expand(wildcard: HostPort, host: readonly HostAddress[]): HostPort[] {
  return host
    .filter(({ address }) => wildcard.host === '::' || !isIPv6(address))
    .map(({ address }) => ({ host: address, port: wildcard.port }));
}
