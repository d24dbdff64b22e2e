import { splitHostPort } from '../../../config/address.ts';
import { DamselflyError } from '../../errors.ts';
import { type Found, failed, ok, skipped, warning } from '../check.ts';
import type { RunningNode } from '../running-node.ts';
import { judgeSwarm } from './swarm.ts';

const LIBP2P_PORT = 4006;
/** Of a swarm that names hundreds, enough to tell whether the way is open. */
const MAX_DIALED = 32;

export interface PeersWorld {
  readonly enabled: boolean;
  readonly networkKeyFile: string | undefined;
  /** Multiaddrs, as written. */
  readonly listen: readonly string[];
  readonly transport: 'auto' | 'tls' | 'libp2p';
  readonly discovery: {
    readonly static: readonly string[];
    readonly bootstrap: readonly string[];
    readonly dns: readonly string[];
    readonly mdns: boolean;
  };
  readonly node: Promise<RunningNode>;
  /** IP addresses of this host. */
  readonly ownAddresses: ReadonlySet<string>;
  /** Names of the keys in the file, which give nothing of them away. @throws DamselflyError network-key-invalid. */
  readKeys(path: string): Promise<readonly string[]>;
  resolve(host: string): Promise<readonly string[]>;
  /** Resolves once a TCP connection is there; it is closed again. */
  dial(host: string, port: number, signal: AbortSignal): Promise<void>;
  reasonOf(error: unknown): string;
}

interface Target {
  readonly subject: string;
  readonly host: string;
  readonly port: number;
}

/**
 * The network key, what the running node says of its members, and whether the members that the configuration names can
 * be reached by TCP. The ports are looked at with all others.
 */
export async function checkPeers(world: PeersWorld, signal: AbortSignal): Promise<Found[]> {
  if (!world.enabled) return [skipped(undefined, 'peers are off: this node exchanges pieces with nobody')];
  const [keys, swarm, ways] = await Promise.all([
    checkKeys(world),
    judgeSwarm(world, signal),
    checkWays(world, signal),
  ]);
  const clocks = skipped(
    'clocks',
    'not compared among members: they tell each other durations only, so clocks that differ do no harm',
  );
  return [...keys, ...swarm, ...ways, clocks];
}

async function checkKeys({ networkKeyFile, readKeys }: PeersWorld): Promise<Found[]> {
  if (networkKeyFile === undefined) return [];
  const subject = `peer.networkKeyFile ${networkKeyFile}`;
  let keys: readonly string[];
  try {
    keys = await readKeys(networkKeyFile);
  } catch (error) {
    if (!(error instanceof DamselflyError)) throw error;
    // That it is there, and who may read it, is told with the other files.
    if (error.cause !== undefined) return [skipped(subject, 'it cannot be read: see files')];
    return [
      failed(
        subject,
        error.message,
        'Write the output of "damselfly peers keygen" into it, the same on every node',
      ),
    ];
  }
  const [first = '', ...others] = keys;
  const more = others.length === 0 ? '' : `; ${others.join(', ')} accepted as well`;
  return [ok(subject, `key ${first}, which has this name on every node that has it${more}`)];
}

async function checkWays(world: PeersWorld, signal: AbortSignal): Promise<Found[]> {
  const { discovery } = world;
  const found: Found[] = [];
  const targets: Target[] = [...discovery.static, ...discovery.bootstrap].map((text) => targetOf(text));
  const names = await Promise.all(
    discovery.dns.map(async (name) => {
      const { host, port } = targetOf(name);
      return { name, port, addresses: await world.resolve(host) };
    }),
  );
  for (const { name, port, addresses } of names) {
    if (addresses.length === 0)
      found.push(
        warning(
          name,
          'the name has no address',
          'Create the headless service, or spell its name as DNS does: with no member up yet it has none',
        ),
      );
    for (const address of addresses) targets.push({ subject: `${name} (${address})`, host: address, port });
  }
  if (targets.length === 0 && found.length === 0) {
    return discovery.mdns
      ? [skipped(undefined, 'members are found by multicast DNS, which is not asked here')]
      : [
          warning(
            undefined,
            'peers are on, and no way to find any is configured: only members that name this node will find it',
            'Set one of peer.discovery.static, dns, mdns or bootstrap',
          ),
        ];
  }
  const dialed = targets.slice(0, MAX_DIALED).map((target) => reach(world, target, signal));
  found.push(...(await Promise.all(dialed)));
  if (targets.length > MAX_DIALED)
    found.push(skipped(undefined, `${targets.length - MAX_DIALED} more members were not dialled`));
  return found;
}

async function reach(
  world: PeersWorld,
  { subject, host, port }: Target,
  signal: AbortSignal,
): Promise<Found> {
  const begunMs = performance.now();
  try {
    await world.dial(host, port, signal);
    return ok(subject, `reached in ${Math.round(performance.now() - begunMs)} ms`);
  } catch (error) {
    // The same list serves all nodes, so that each finds itself in it.
    const isOwn =
      world.ownAddresses.has(host) && world.listen.some((address) => targetOf(address).port === port);
    if (isOwn && (await world.node).kind !== 'node')
      return skipped(subject, 'this host itself, where no node runs');
    return failed(
      subject,
      `cannot be reached (${world.reasonOf(error)})`,
      `Is a node up there, and does the firewall let TCP port ${port} through? Else take it off peer.discovery`,
    );
  }
}

/** `host[:port]` or a multiaddr, both checked by the schema. */
function targetOf(text: string): Target {
  if (text.startsWith('/')) {
    const [, , host = '', , port = ''] = text.split('/');
    return { subject: text, host, port: Number(port) };
  }
  const { host, port } = splitHostPort(text);
  return {
    subject: text,
    host: host.replace(/^\[|\]$/g, ''),
    port: port === undefined ? LIBP2P_PORT : Number(port),
  };
}
