import type { Libp2p } from '@libp2p/interface';
import type { PeerConfig } from '../../../config/sections/peer.ts';
import type { Logger } from '../../../src/observe/log.ts';
import { LocalNetwork } from './local-network.ts';
import { Names } from './names.ts';
import type { DiscoverySource, ResolveName } from './source.ts';

/** The sources that `peer.discovery` switches on; any combination. */
export function configuredSources(
  config: PeerConfig['discovery'],
  parts: { readonly node: Libp2p; readonly resolve: ResolveName; readonly log: Logger },
): DiscoverySource[] {
  const { resolve, log, node } = parts;
  // A libp2p bootstrap list is a list of multiaddrs that are dialled; whoever is met there tells of the others.
  const lists = { static: config.static, dns: config.dns, bootstrap: config.bootstrap };
  const sources: DiscoverySource[] = Object.entries(lists)
    .filter(([, endpoints]) => endpoints.length > 0)
    .map(([name, endpoints]) => new Names({ name, endpoints, resolve, log }));
  if (config.mdns) sources.push(new LocalNetwork(node));
  return sources;
}
