/** Ports that a node has at an address of its own: those of the contract. */
export const PORTS = { proxy: 4001, metrics: 4002, admin: 4003, data: 4005, libp2p: 4006 } as const;

export type Sections = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface PeerSetup {
  readonly networkKeyFile: string;
  readonly transport: 'auto' | 'tls' | 'libp2p';
  /** Addresses of all nodes, this one's may be among them. */
  readonly members: readonly string[];
  readonly zone: string | undefined;
  /** Bytes per second, where no link is there to limit it. */
  readonly rate: number | undefined;
}

/** The configuration file of one node of a cluster, JSON being YAML. */
export function nodeConfig(node: {
  readonly address: string;
  readonly cacheDir: string;
  /** `host:port`, read over plain http. */
  readonly originHost: string;
  /** Undefined: peers are off. */
  readonly peers: PeerSetup | undefined;
  /** Laid over the rest, key by key of each section. */
  readonly more: Sections;
}): string {
  const { address, cacheDir, more, originHost, peers } = node;
  const own: Record<string, Record<string, unknown>> = {
    proxy: { listen: `${address}:${PORTS.proxy}`, defaultOrigin: `http://${originHost}` },
    cache: { dir: cacheDir },
    peer: peers === undefined ? { enabled: false } : peerSection(address, peers),
    admin: { listen: `${address}:${PORTS.admin}` },
    metrics: { listen: `${address}:${PORTS.metrics}` },
    log: { level: 'warn' },
  };
  for (const [section, keys] of Object.entries(more)) own[section] = { ...own[section], ...keys };
  return `${JSON.stringify({ origins: [{ host: originHost, insecure: true }], ...own }, undefined, 2)}\n`;
}

function peerSection(address: string, peers: PeerSetup): Record<string, unknown> {
  const { members, networkKeyFile, rate, transport, zone } = peers;
  return {
    ...{ enabled: true, networkKeyFile, transport },
    listen: `/ip4/${address}/tcp/${PORTS.libp2p}`,
    dataListen: `${address}:${PORTS.data}`,
    discovery: {
      static: members.filter((member) => member !== address).map((member) => `${member}:${PORTS.libp2p}`),
    },
    ...(zone === undefined ? {} : { zone }),
    ...(rate === undefined ? {} : { uploadRate: rate, downloadRate: rate }),
  };
}
