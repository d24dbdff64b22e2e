import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateKeyFile } from '../../../peer/identity/network-key.ts';
import { Scope } from '../../e2e/support/scope.ts';
import { eventually } from '../eventually.ts';
import type { NetLab } from '../netns/net-lab.ts';
import type { OriginSetup } from '../origin/remote.ts';
import { OriginProcess } from '../origin-process.ts';
import { Agent } from './agent.ts';
import { ClusterNode, type NodeSpec } from './cluster-node.ts';
import { clusterFolder, removeFolder } from './folder.ts';
import { nodeConfig, type Sections } from './node-config.ts';
import { type Form, makePlaces, type Place } from './place.ts';

const SOURCES = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));
const ORIGIN_TIMEOUT_MS = 120_000;
const START_TIMEOUT_MS = 60_000;
const SETTLE_TIMEOUT_MS = 30_000;
const SETTLE_POLL_MS = 100;

export interface ClusterOptions {
  readonly nodes: number;
  /** Default `loopback`, which needs no root; `netns` gives each process a network of its own, see `cannotMakeNetns`. */
  readonly form?: Form;
  /** Bytes per second of each node, each way: its link, or on loopback what it takes from and gives to peers. */
  readonly rate?: number;
  /** Bytes per second of the origin: its link, or on loopback its cap. Default: none. */
  readonly originRate?: number;
  readonly origin: OriginSetup;
  /** Undefined: peers are off. */
  readonly peers?: { readonly transport?: 'auto' | 'tls' | 'libp2p' };
  /** So many zones, the nodes taking turns; default none. */
  readonly zones?: number;
  /** What is run; default the sources. */
  readonly main?: string;
  /** Where folders are made; default the temporary folder. */
  readonly parentFolder?: string;
  /** What one of them has that others have not. */
  readonly each?: (index: number) => NodeDifference;
  /** Of each node's start, all of them being started at once. */
  readonly startTimeoutMs?: number;
}

export interface NodeDifference {
  readonly config?: Sections;
  /** Default: in the node's own folder. */
  readonly cacheDir?: string;
  /** How far its wall clock is ahead. */
  readonly clockSkewMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Real node processes round one origin, with a network key that they share; every one gone after `close`. */
export class Cluster implements AsyncDisposable {
  readonly nodes: readonly ClusterNode[];
  readonly origin: OriginProcess;
  readonly form: Form;
  /** What all of them have in common, for members that are no nodes; it is there with peers on. */
  readonly networkKeyFile: string;
  readonly #lab: NetLab | undefined;
  readonly #scope: Scope;

  constructor(
    parts: {
      nodes: readonly ClusterNode[];
      origin: OriginProcess;
      form: Form;
      networkKeyFile: string;
      lab: NetLab | undefined;
    },
    scope: Scope,
  ) {
    this.nodes = parts.nodes;
    this.origin = parts.origin;
    this.form = parts.form;
    this.networkKeyFile = parts.networkKeyFile;
    this.#lab = parts.lab;
    this.#scope = scope;
  }

  /** @throws on loopback. */
  get lab(): NetLab {
    if (this.#lab === undefined) throw new Error('a cluster on loopback has no links of its own');
    return this.#lab;
  }

  node(index: number): ClusterNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }

  /** Those that do not run, all at once. */
  async startAll(): Promise<void> {
    await all(this.nodes.filter((node) => !node.isAlive).map((node) => node.start()));
  }

  /** SIGTERM to all at once. */
  async stopAll(): Promise<void> {
    await all(this.nodes.map((node) => node.stop()));
  }

  async killAll(): Promise<void> {
    await all(this.nodes.map((node) => node.kill()));
  }

  /**
   * Resolves once every running node knows every other running one as a live member.
   * @throws at once where a node has no peers at all.
   */
  async settled(timeoutMs = SETTLE_TIMEOUT_MS): Promise<void> {
    const running = this.nodes.filter((node) => node.isAlive);
    await all(
      running.map(async (node) => {
        if ((await node.status()).peers === null) throw new Error(`the peers of ${node.name} are off`);
        await eventually(async () => ((await node.status()).peers?.totals.live ?? 0) >= running.length - 1, {
          ...{ timeoutMs, everyMs: SETTLE_POLL_MS, what: `${node.name} knows all ${running.length} nodes` },
        });
      }),
    );
  }

  async close(): Promise<void> {
    await this.#scope.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Starts an origin and nodes; resolves once every node is healthy and, with peers on, knows all others. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const scope = new Scope();
  try {
    return await start(options, scope);
  } catch (error) {
    await scope.close().catch(() => undefined);
    throw error;
  }
}

async function start(options: ClusterOptions, scope: Scope): Promise<Cluster> {
  const { form = 'loopback', rate, originRate, peers, zones = 0 } = options;
  const folder = await clusterFolder(options.parentFolder ?? tmpdir());
  scope.defer(() => removeFolder(folder));
  const named = Array.from({ length: options.nodes }, (_, index) => ({
    name: `node-${index + 1}`,
    zone: zones > 0 ? `zone-${(index % zones) + 1}` : undefined,
  }));
  const link = (bytesPerSecond: number | undefined) =>
    bytesPerSecond === undefined ? undefined : { bytesPerSecond };
  const places = await makePlaces(scope, {
    ...{ form, nodes: named, nodeLink: link(rate), originLink: link(originRate) },
  });
  const origin = await startOrigin(places.origin, options);
  scope.defer(() => origin.close());
  const networkKeyFile = join(folder, 'network.key');
  if (peers !== undefined) await writeFile(networkKeyFile, generateKeyFile(), { mode: 0o600 });
  const specs = places.nodes.map((place, index): NodeSpec => {
    const { name = '', zone } = named[index] ?? {};
    const { clockSkewMs = 0, config = {}, env = {}, ...own } = options.each?.(index) ?? {};
    const cacheDir = own.cacheDir ?? join(folder, name, 'cache');
    const peerSetup = peers && {
      ...{ networkKeyFile, zone, transport: peers.transport ?? 'auto' },
      members: places.nodes.map(({ address }) => address),
      // A link limits it already, and better than a node could.
      rate: form === 'loopback' ? rate : undefined,
    };
    return {
      ...{ name, zone, place, cacheDir, clockSkewMs, env, folder: join(folder, name) },
      config: nodeConfig({
        ...{ address: place.address, cacheDir, originHost: origin.host, peers: peerSetup, more: config },
      }),
      main: options.main ?? SOURCES,
      startTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS,
    };
  });
  const agents = await all(
    specs.map(async ({ place }) => {
      const agent = await Agent.start(place);
      scope.defer(() => agent.close());
      return agent;
    }),
  );
  const nodes = agents.flatMap((agent, index) => {
    const spec = specs[index];
    return spec === undefined ? [] : new ClusterNode(spec, agent);
  });
  const cluster = new Cluster({ nodes, origin, form, networkKeyFile, lab: places.lab }, scope);
  scope.defer(() => cluster.stopAll());
  await cluster.startAll();
  if (peers !== undefined) await cluster.settled();
  return cluster;
}

function startOrigin(place: Place, options: ClusterOptions): Promise<OriginProcess> {
  const { form, origin, originRate } = options;
  const cap = form !== 'netns' && originRate !== undefined ? { bytesPerSecond: originRate } : {};
  return OriginProcess.start({ ...cap, ...origin, host: place.address }, ORIGIN_TIMEOUT_MS, place.enter);
}

/** Waits for all of them, also when one fails, so that nothing is still being started while all is being ended. */
async function all<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const done = await Promise.allSettled(work);
  const failed = done.find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return done.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}
