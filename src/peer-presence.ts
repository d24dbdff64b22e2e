import type { PeerConfig } from '../config/sections/peer.ts';
import type { Member, PeerId } from '../peer/member.ts';
import type { SwarmStatus } from '../peer/status.ts';

/** How a node stands in the swarm when it has started: for whoever set it up. */
export interface PeerPresence {
  readonly id: PeerId;
  readonly transport: PeerConfig['transport'];
  /** What is really listened on: `host:port` of the data plane, multiaddrs of libp2p. */
  readonly listen: SwarmStatus['listen'];
  /** Where it tells other members to dial it, in the same forms. */
  readonly announced: SwarmStatus['listen'];
  /** From how many places it learns of other members, by kind. */
  readonly discovery: Readonly<Record<keyof PeerConfig['discovery'], number>>;
}

export function presenceOf(
  { transport, discovery }: Pick<PeerConfig, 'transport' | 'discovery'>,
  self: Member,
  listen: SwarmStatus['listen'],
): PeerPresence {
  return {
    id: self.id,
    transport,
    listen,
    announced: { data: self.data.map(({ host, port }) => hostPortText(host, port)), control: self.control },
    discovery: {
      static: discovery.static.length,
      dns: discovery.dns.length,
      mdns: discovery.mdns ? 1 : 0,
      bootstrap: discovery.bootstrap.length,
    },
  };
}

function hostPortText(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
