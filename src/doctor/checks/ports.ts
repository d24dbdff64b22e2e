import { formatAddress, type ListenAddress } from '../../../config/address.ts';
import { type Found, failed, ok, skipped } from '../check.ts';
import { type Owner, ownerText } from '../host/processes.ts';
import type { RunningNode } from '../running-node.ts';

export interface PortsWorld {
  /** What is to be listened on, with its key in the configuration. */
  readonly addresses: readonly { readonly key: string; readonly address: ListenAddress }[];
  readonly node: Promise<RunningNode>;
  /** null when it can be listened on, else the errno's name. */
  tryListen(address: ListenAddress, signal: AbortSignal): Promise<string | null>;
  listeners(ports: ReadonlySet<number>, signal: AbortSignal): Promise<ReadonlyMap<number, Owner>>;
}

/** Each configured address: free, the running node's, or whose. */
export async function checkPorts(world: PortsWorld, signal: AbortSignal): Promise<Found[]> {
  const { addresses } = world;
  const outcomes = await Promise.all(
    addresses.map(({ address }) => (isRandom(address) ? null : world.tryListen(address, signal))),
  );
  const taken = addresses.filter((_, index) => outcomes[index] === 'EADDRINUSE');
  const ports = new Set(taken.flatMap(({ address }) => (address.kind === 'tcp' ? [address.port] : [])));
  const [owners, node] = await Promise.all([
    ports.size === 0 ? new Map<number, Owner>() : world.listeners(ports, signal),
    world.node,
  ]);
  return addresses.map(({ key, address }, index) => {
    const subject = `${key} ${formatAddress(address)}`;
    if (isRandom(address)) return skipped(subject, 'the system chooses a port at each start');
    return judge(subject, key, address, outcomes[index] ?? null, owners, node);
  });
}

function judge(
  subject: string,
  key: string,
  address: ListenAddress,
  code: string | null,
  owners: ReadonlyMap<number, Owner>,
  node: RunningNode,
): Found {
  switch (code) {
    case null:
      return ok(subject, 'free');
    case 'EADDRINUSE': {
      const owner = address.kind === 'tcp' ? owners.get(address.port) : undefined;
      if (isOf(node, address))
        return ok(subject, `the running node's${owner === undefined ? '' : ` (pid ${owner.pid})`}`);
      const whose = address.kind === 'tcp' ? ownerText(owner) : 'another process';
      return failed(
        subject,
        `taken by ${whose}, and no Damselfly tells that it is its own`,
        `Stop that process, or set ${key} to another address`,
      );
    }
    case 'EACCES':
    case 'EPERM':
      return failed(
        subject,
        'this user may not listen there',
        address.kind === 'tcp'
          ? `Set ${key} to a port above 1023, or run as a user that may use this one`
          : `Let this user write to the socket's folder, or set ${key} to another path`,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return failed(
        subject,
        'no interface of this host has that address',
        `Set ${key} to an address of this host`,
      );
    case 'EAFNOSUPPORT':
      return failed(subject, 'this host has no such address family', `Set ${key} to an IPv4 address`);
    default:
      return failed(subject, `it cannot be listened on (${code})`, `Set ${key} to another address`);
  }
}

function isRandom(address: ListenAddress): boolean {
  return address.kind === 'tcp' && address.port === 0;
}

/** By port alone: a node tells `0.0.0.0:4001` where another spelling may be asked for. */
function isOf(node: RunningNode, address: ListenAddress): boolean {
  if (node.kind !== 'node') return false;
  const { listen, peers } = node.status;
  // A node of an earlier version has no peers.
  const all = [...(Object.values(listen).flat() as string[]), ...(peers?.listen.data ?? [])];
  if (address.kind === 'unix') return all.includes(formatAddress(address));
  const isControl = (peers?.listen.control ?? []).some((one) => `${one}/`.includes(`/tcp/${address.port}/`));
  return isControl || all.some((one) => !one.startsWith('unix:') && one.endsWith(`:${address.port}`));
}
