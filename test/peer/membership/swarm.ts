import type { TestContext } from 'node:test';
import type { PeerConfig } from '../../../config/sections/peer.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { ResolveName } from '../../../peer/membership/discovery/source.ts';
import { Membership, type MembershipCounters } from '../../../peer/membership/membership.ts';
import { type Logger, silentLogger } from '../../../src/observe/log.ts';
import { NO_METRICS } from './no-metrics.ts';

export const NETWORK = NetworkKey.generate();

export interface NodeOptions {
  readonly identity?: Identity;
  readonly keys?: NetworkKeys;
  readonly listen?: string;
  readonly static?: readonly string[];
  readonly dns?: readonly string[];
  readonly mdns?: boolean;
  readonly announce?: readonly string[];
  readonly zone?: string;
  readonly resolve?: ResolveName;
  readonly folder?: string;
  readonly log?: Logger;
  readonly metrics?: MembershipCounters;
  readonly wallClock?: () => number;
}

/** A member on loopback that is stopped, at the latest, when the test is over. */
export async function startMember(
  t: Pick<TestContext, 'after'>,
  options: NodeOptions = {},
): Promise<Membership> {
  const discovery: PeerConfig['discovery'] = {
    static: options.static ?? [],
    dns: options.dns ?? [],
    mdns: options.mdns ?? false,
    bootstrap: [],
  };
  const membership = await Membership.start({
    identity: options.identity ?? Identity.generate(),
    keys: options.keys ?? new NetworkKeys([NETWORK]),
    config: {
      listen: [options.listen ?? '/ip4/127.0.0.1/tcp/0'],
      announce: options.announce ?? [],
      zone: options.zone,
      discovery,
    },
    data: [{ host: '127.0.0.1', port: 4005 }],
    resolve: options.resolve ?? (async () => []),
    folder: options.folder,
    log: options.log ?? silentLogger,
    metrics: options.metrics ?? NO_METRICS,
    ...(options.wallClock === undefined ? {} : { wallClock: options.wallClock }),
  });
  t.after(() => membership.stop());
  return membership;
}

/** `127.0.0.1:port` of its libp2p. */
export function addressOf(membership: Membership): string {
  const [, , host = '', , port = ''] = (membership.listening()[0] ?? '').split('/');
  return `${host}:${port}`;
}

/** Whether each knows exactly all of these, itself among them. */
export function agree(members: readonly Membership[]): boolean {
  const expected = members
    .map(({ self }) => self.id)
    .sort()
    .join();
  return members.every(
    (member) =>
      member
        .live()
        .map(({ id }) => id)
        .join() === expected,
  );
}
