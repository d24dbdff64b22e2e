import type { z } from 'zod';
import { LISTEN_EXPECTED, type TcpAddress, tcpAddress } from '../address.ts';
import { defaulted, optional, section } from '../field.ts';
import { DIALABLE_EXPECTED, dialable, MULTIADDR_EXPECTED, multiaddr } from '../multiaddr.ts';
import { flag, manyOf, oneOf, path, text, wholeNumber } from '../readers.ts';
import { bytesPerSecond, RATE_EXPECTED } from '../size.ts';
import { dnsName } from '../web.ts';

const discoveryShape = {
  static: defaulted({
    description: 'Members at fixed addresses.',
    default: [],
    example: ['10.0.0.5:4006', '/dns/node-b/tcp/4006'],
    expected: DIALABLE_EXPECTED,
    read: manyOf(dialable, { min: 0 }),
  }),
  dns: defaulted({
    description:
      'Names whose A and AAAA records are the members, such as a headless service; port 4006 unless given.',
    default: [],
    example: ['damselfly.kube-system.svc.cluster.local'],
    expected: 'a list of DNS names with an optional port',
    read: manyOf(dnsName, { min: 0 }),
  }),
  mdns: defaulted({
    description: 'Find members on the local network by multicast DNS.',
    default: false,
    expected: 'true or false',
    read: flag,
  }),
  bootstrap: defaulted({
    description: 'libp2p bootstrap members.',
    default: [],
    example: ['/ip4/10.0.0.5/tcp/4006'],
    expected: MULTIADDR_EXPECTED,
    read: manyOf(multiaddr, { min: 0 }),
  }),
};

const peerShape = {
  enabled: optional({
    description: 'Whether this node exchanges pieces with others. Unset: only when networkKeyFile is set.',
    expected: 'true or false',
    example: true,
    read: flag,
  }),
  listen: defaulted({
    description: 'libp2p: identity, discovery, membership and control.',
    default: '/ip4/0.0.0.0/tcp/4006',
    expected: MULTIADDR_EXPECTED,
    read: manyOf(multiaddr, { min: 1 }),
  }),
  dataListen: defaulted({
    description: 'The data plane: pieces and planner questions, over mutual TLS.',
    default: '0.0.0.0:4005',
    expected: LISTEN_EXPECTED,
    read: manyOf(tcpAddress, { min: 1 }),
  }),
  announce: defaulted({
    description:
      "What others dial when it is not the listen address. A wildcard listen address announces the interfaces' addresses.",
    default: [],
    example: ['/ip4/203.0.113.7/tcp/4006'],
    expected: DIALABLE_EXPECTED,
    read: manyOf(dialable, { min: 0 }),
  }),
  networkKeyFile: optional({
    description:
      'The key that makes a node a member (`damselfly peers keygen` prints one); several are accepted.',
    expected: 'the path of a network key file',
    example: '/etc/damselfly/network.key',
    read: path,
  }),
  insecure: defaulted({
    description: 'Peers without a network key: anybody who reaches the ports is a member. For trials.',
    default: false,
    expected: 'true or false',
    read: flag,
  }),
  transport: defaulted({
    description:
      'How pieces move. auto: TLS sockets, and libp2p streams where the data plane cannot be dialled.',
    default: 'auto',
    expected: 'auto, tls or libp2p',
    read: oneOf(['auto', 'tls', 'libp2p']),
  }),
  trust: defaulted({
    description:
      'attested: a piece is believed on the word of the member that read it from the origin, until the blob is proven. proven: only pieces of blobs whose whole digest matched.',
    default: 'attested',
    expected: 'attested or proven',
    read: oneOf(['attested', 'proven']),
  }),
  zone: optional({
    description: 'Members of the same zone are preferred, and a piece crosses into a zone once.',
    expected: 'a name, in quotes when it looks like a number',
    example: 'rack-1',
    read: text,
  }),
  uploadRate: defaulted({
    description: 'What this node sends to peers, at most; 0 means no limit.',
    default: 0,
    expected: RATE_EXPECTED,
    read: bytesPerSecond,
  }),
  downloadRate: defaulted({
    description: 'What this node takes from peers, at most; 0 means no limit.',
    default: 0,
    expected: RATE_EXPECTED,
    read: bytesPerSecond,
  }),
  workers: defaulted({
    description: 'Worker threads that own the data plane sockets; 0 keeps them on the main thread.',
    default: 0,
    expected: 'a whole number from 0 to 64',
    read: wholeNumber(0, 64),
  }),
  discovery: section(discoveryShape, 'How members find each other; any combination.'),
};

export const peerSection = section(peerShape, 'The swarm.').superRefine(checkPeer);

type PeerKeys = z.output<typeof peerSection>;

export interface PeerConfig {
  readonly enabled: boolean;
  /** Multiaddrs. */
  readonly listen: readonly string[];
  readonly dataListen: readonly TcpAddress[];
  /** Multiaddrs or host[:port], as written. */
  readonly announce: readonly string[];
  readonly networkKeyFile: string | undefined;
  readonly insecure: boolean;
  readonly transport: 'auto' | 'tls' | 'libp2p';
  readonly trust: 'attested' | 'proven';
  readonly zone: string | undefined;
  /** Infinity: no limit. */
  readonly uploadBytesPerSecond: number;
  /** Infinity: no limit. */
  readonly downloadBytesPerSecond: number;
  readonly workers: number;
  readonly discovery: {
    readonly static: readonly string[];
    readonly dns: readonly string[];
    readonly mdns: boolean;
    readonly bootstrap: readonly string[];
  };
}

export function peerConfig(keys: PeerKeys): PeerConfig {
  const { enabled, uploadRate, downloadRate, ...rest } = keys;
  return {
    ...rest,
    enabled: isEnabled(keys),
    uploadBytesPerSecond: uploadRate,
    downloadBytesPerSecond: downloadRate,
  };
}

function isEnabled(keys: PeerKeys): boolean {
  return keys.enabled ?? keys.networkKeyFile !== undefined;
}

function checkPeer(keys: PeerKeys, context: z.core.$RefinementCtx): void {
  if (!isEnabled(keys) || keys.networkKeyFile !== undefined || keys.insecure) return;
  context.issues.push({
    code: 'custom',
    path: ['networkKeyFile'],
    input: undefined,
    message:
      'the path of a network key file, because peer.enabled is true: make one with `damselfly peers keygen`, or set peer.insecure: true for a trial without a key',
  });
}
