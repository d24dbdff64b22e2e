import { splitHostPort } from '../../../config/address.ts';
import { type Found, failed, ok, skipped, warning } from '../check.ts';

const LIBP2P_PORT = 4006;
/** Of a swarm that names hundreds, enough to tell whether the way is open. */
const MAX_DIALED = 32;

export interface PeersWorld {
  readonly enabled: boolean;
  readonly discovery: {
    readonly static: readonly string[];
    readonly bootstrap: readonly string[];
    readonly dns: readonly string[];
    readonly mdns: boolean;
  };
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

/** Whether the members that the configuration names can be reached by TCP. */
export async function checkPeers(world: PeersWorld, signal: AbortSignal): Promise<Found[]> {
  if (!world.enabled) return [skipped(undefined, 'peers are off: this node exchanges pieces with nobody')];
  const { discovery } = world;
  const found: Found[] = [];
  const targets: Target[] = [...discovery.static, ...discovery.bootstrap].map((text) => targetOf(text));
  for (const name of discovery.dns) {
    const { host, port } = targetOf(name);
    const addresses = await world.resolve(host);
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
            'peers are on, and no way to find any is configured',
            'Set one of peer.discovery.static, dns, mdns or bootstrap',
          ),
        ];
  }
  const dialed = targets
    .slice(0, MAX_DIALED)
    .map(({ subject, host, port }) => reach(world, subject, host, port, signal));
  found.push(...(await Promise.all(dialed)));
  if (targets.length > MAX_DIALED)
    found.push(skipped(undefined, `${targets.length - MAX_DIALED} more members were not dialled`));
  return found;
}

async function reach(
  world: PeersWorld,
  subject: string,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<Found> {
  const begunMs = performance.now();
  try {
    await world.dial(host, port, signal);
    return ok(subject, `reached in ${Math.round(performance.now() - begunMs)} ms`);
  } catch (error) {
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
