import { splitHostPort } from '../../../config/address.ts';
import type { MemberStatus, SwarmStatus } from '../../../peer/status.ts';
import { type Found, failed, ok, warning } from '../check.ts';
import type { RunningNode } from '../running-node.ts';

/** Enough to tell whether data planes are open: one rule of a firewall is for all of them. */
const MAX_DIALED = 8;
/** Of an id, its end: beginnings are the same for all. */
const SHOWN_CHARS = 8;

export interface SwarmWorld {
  readonly transport: 'auto' | 'tls' | 'libp2p';
  readonly node: Promise<RunningNode>;
  dial(host: string, port: number, signal: AbortSignal): Promise<void>;
  reasonOf(error: unknown): string;
}

/** What the running node says of its members, and whether their data planes can be reached from here. */
export async function judgeSwarm(world: SwarmWorld, signal: AbortSignal): Promise<Found[]> {
  const node = await world.node;
  if (node.kind !== 'node') return [];
  // A node of an earlier version has no such key.
  const swarm = node.status.peers ?? null;
  if (swarm === null)
    return [
      warning(
        'the running node',
        'exchanges pieces with nobody, though peers are on in this configuration',
        'Restart it with this configuration',
      ),
    ];
  const found = [judgeMembers(swarm)];
  if (world.transport === 'libp2p') return found;
  const dialed = swarm.members.filter(({ state }) => state === 'live').slice(0, MAX_DIALED);
  const unreached = await Promise.all(dialed.map((member) => reachData(world, member, signal)));
  return [...found, ...unreached.flat()];
}

function judgeMembers({ memberCount, totals }: SwarmStatus): Found {
  const subject = 'the running node';
  const remedy =
    'Have the others the same network key, are they up, and does a firewall let TCP ports 4005 and 4006 through both ways? Their logs tell of connections that they refused';
  if (memberCount === 0) return warning(subject, 'knows no other member', remedy);
  const { live, suspect, quarantined } = totals;
  const what = `knows ${memberCount} ${memberCount === 1 ? 'member' : 'members'}: ${live} live, ${suspect} suspect, ${quarantined} quarantined`;
  return live === 0 ? warning(subject, what, remedy) : ok(subject, what);
}

/** Says something only when it fails: the members themselves are listed by `peers`. */
async function reachData(world: SwarmWorld, member: MemberStatus, signal: AbortSignal): Promise<Found[]> {
  const addresses = member.addresses.filter((address) => !address.startsWith('/'));
  let reason: unknown;
  for (const address of addresses) {
    const { host, port } = splitHostPort(address);
    try {
      await world.dial(host.replace(/^\[|\]$/g, ''), Number(port), signal);
      return [];
    } catch (error) {
      reason = error;
    }
  }
  if (addresses.length === 0) return [];
  const subject = `member …${member.id.slice(-SHOWN_CHARS)} ${addresses.join(', ')}`;
  const what = `its data plane cannot be reached (${world.reasonOf(reason)})`;
  const remedy = 'Let that TCP port through the firewall, or set peer.announce there to what others can dial';
  return world.transport === 'tls'
    ? [failed(subject, what, remedy)]
    : [warning(subject, `${what}: pieces come by libp2p, which costs several times the CPU`, remedy)];
}
