import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../../support/cluster/cluster.ts';
import type { ClusterNode } from '../../support/cluster/cluster-node.ts';
import type { MetricSample } from '../../support/cluster/metric-samples.ts';
import { ORIGIN_HOST } from '../../support/cluster/place.ts';
import type { ReadOutcome } from '../../support/cluster/read-job.ts';
import { type Traffic, trafficBetween } from '../../support/netns/traffic.ts';
import { cpuSeconds, machineSeconds } from '../measure.ts';
import type { CrowdFacts, NodeFacts, ProcessFacts } from './facts.ts';
import type { Wanted } from './wanted.ts';

/** Enough for every client to have been told. */
const START_IN_MS = 500;
const POLL_MS = 50;
/** When nodes are killed: so much of what all of them want has come. */
const KILL_AT_SHARE = 0.4;
const OF_THE_SWARM =
  /^damselfly_(?:planner|leases|unleased|hedged|peer|membership|vouchers|contested)_.*_total$/;

export interface CrowdPlan {
  readonly blob: { readonly path: string; readonly seed: number | string };
  readonly wanted: Wanted;
  /** How many nodes are killed in mid-transfer. */
  readonly kills: number;
  /** From the start, for each node. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Every node reads the same at the same moment; some die of it. */
export async function runCrowd(cluster: Cluster, plan: CrowdPlan): Promise<CrowdFacts> {
  const { blob, kills, signal, timeoutMs, wanted } = plan;
  const before = await readCounters(cluster);
  const startAtMs = Date.now() + START_IN_MS;
  const reads = cluster.nodes.map((node) =>
    node.read({ blob: { ...blob, size: wanted.blobBytes }, lanes: wanted.lanes, startAtMs, timeoutMs }),
  );
  const over = new AbortController();
  const killing = killSome(cluster, kills, wanted, AbortSignal.any([over.signal, signal]));
  try {
    const outcomes = await Promise.all(reads);
    over.abort();
    const killed = await killing;
    return await factsOf(cluster, before, { outcomes, killed, startAtMs });
  } finally {
    over.abort();
    await killing.catch(() => undefined);
  }
}

/** Spread evenly over the nodes, so that each zone loses some. @returns those that were killed. */
async function killSome(
  cluster: Cluster,
  kills: number,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<ReadonlySet<ClusterNode>> {
  const { nodes } = cluster;
  const victims = new Set(
    Array.from({ length: kills }, (_, index) =>
      cluster.node(Math.floor(((index + 0.5) * nodes.length) / kills)),
    ),
  );
  if (kills === 0) return victims;
  for (;;) {
    const progress = await Promise.all(nodes.map((node) => node.agent.progress()));
    const came = progress.reduce((sum, bytes) => sum + bytes, 0);
    if (came >= KILL_AT_SHARE * nodes.length * wanted.answerBytes) break;
    if (signal.aborted) throw new Error('the crowd was over before nodes could be killed');
    await sleep(POLL_MS);
  }
  await Promise.all([...victims].map((node) => node.kill()));
  await Promise.all([...victims].map((node) => node.agent.abandon()));
  return victims;
}

/** Everything here counts up from the start of the machine or of a process. */
interface Counters {
  readonly traffic: ReadonlyMap<string, Traffic>;
  readonly zones: ReadonlyMap<string, Traffic>;
  readonly processes: ReadonlyMap<ClusterNode, ProcessFacts>;
  readonly machine: { readonly busy: number; readonly total: number };
  readonly clientCpuSeconds: number;
  readonly originCpuSeconds: number;
  readonly originBytes: number;
}

async function readCounters(cluster: Cluster): Promise<Counters> {
  // Links first and last, so that reading metrics over loopback is all that is asked in between.
  const isShaped = cluster.form === 'netns';
  const machine = machineSeconds();
  const traffic = isShaped ? await cluster.lab.traffic() : new Map();
  const zones = isShaped ? await cluster.lab.zoneTraffic() : new Map();
  const running = cluster.nodes.filter((node) => node.isAlive);
  const processes = new Map(
    await Promise.all(running.map(async (node) => [node, await processFacts(node)] as const)),
  );
  return {
    ...{ traffic, zones, processes, machine },
    clientCpuSeconds: cluster.nodes.reduce((sum, node) => sum + cpuSeconds(node.agent.pid), 0),
    originCpuSeconds: cpuSeconds(cluster.origin.pid),
    originBytes: await cluster.origin.bytesSent(),
  };
}

async function processFacts(node: ClusterNode): Promise<ProcessFacts> {
  const usage = node.usage();
  const metrics = await node.metrics();
  return {
    ...usage,
    originBytes: metrics.sum('damselfly_received_bytes_total', { source: 'origin' }),
    // Of pieces, by whoever receives them; earlier builds have no such series, and no peers.
    peerBytes: metrics.find('damselfly_peer_received_bytes_total') ?? 0,
    sentToPeersBytes: metrics.find('damselfly_peer_sent_bytes_total') ?? 0,
    counted: new Map(
      metrics.all.filter(({ name }) => OF_THE_SWARM.test(name)).map((one) => [seriesName(one), one.value]),
    ),
  };
}

function seriesName({ labels, name }: MetricSample): string {
  return [name, ...Object.entries(labels).map(([label, value]) => `${label}=${value}`)].join(' ');
}

async function factsOf(
  cluster: Cluster,
  before: Counters,
  crowd: {
    readonly outcomes: readonly ReadOutcome[];
    readonly killed: ReadonlySet<ClusterNode>;
    readonly startAtMs: number;
  },
): Promise<CrowdFacts> {
  const after = await readCounters(cluster);
  const nodes = cluster.nodes.map((node, index): NodeFacts => {
    const outcome = crowd.outcomes[index];
    if (outcome === undefined) throw new Error(`${node.name} has no outcome`);
    return {
      ...{ name: node.name, killed: crowd.killed.has(node), outcome },
      wire: between(before.traffic.get(node.name), after.traffic.get(node.name)),
      process: processBetween(before.processes.get(node), after.processes.get(node)),
    };
  });
  return {
    ...{ nodes, startAtMs: crowd.startAtMs, originBytes: after.originBytes - before.originBytes },
    originWireBytes: between(before.traffic.get(ORIGIN_HOST), after.traffic.get(ORIGIN_HOST))?.upBytes,
    zoneInBytes: [...after.zones].map(([zone, now]) => between(before.zones.get(zone), now)?.downBytes ?? 0),
    clientCpuSeconds: after.clientCpuSeconds - before.clientCpuSeconds,
    originCpuSeconds: after.originCpuSeconds - before.originCpuSeconds,
    machineBusySeconds: after.machine.busy - before.machine.busy,
    machineSeconds: after.machine.total - before.machine.total,
  };
}

function between(before: Traffic | undefined, after: Traffic | undefined): Traffic | undefined {
  return before === undefined || after === undefined ? undefined : trafficBetween(before, after);
}

/** The most memory is that since the start of the process: there is no other. */
function processBetween(
  before: ProcessFacts | undefined,
  after: ProcessFacts | undefined,
): ProcessFacts | undefined {
  if (before === undefined || after === undefined) return undefined;
  return {
    originBytes: after.originBytes - before.originBytes,
    peerBytes: after.peerBytes - before.peerBytes,
    sentToPeersBytes: after.sentToPeersBytes - before.sentToPeersBytes,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    peakMiB: after.peakMiB,
    counted: new Map(
      [...after.counted].map(([name, value]) => [name, value - (before.counted.get(name) ?? 0)]),
    ),
  };
}
