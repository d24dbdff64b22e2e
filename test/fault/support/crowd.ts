import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { committee, ranks } from '../../../peer/placement.ts';
import { parseDigest } from '../../../src/blob/digest.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../../support/cluster/cluster.ts';
import type { ClusterNode } from '../../support/cluster/cluster-node.ts';
import type { ReadOutcome } from '../../support/cluster/read-job.ts';
import { eventually } from '../../support/eventually.ts';
import { MIB } from './reads.ts';

/**
 * What a fault among the members may cost readers, in time: past what they would take with no mirror, all of them at once
 * over the origin's line. Most of it is for the machine, which runs the nodes, their clients and the origin on two cores.
 */
export const BUDGET_MS = 8_000;
const REPOSITORY = 'lab/fault';
const POLL_MS = 20;
const WHY = [
  'damselfly_leases_granted_total',
  'damselfly_leases_ended_total',
  'damselfly_unleased_origin_reads_total',
  'damselfly_peer_suspicions_total',
  'damselfly_peer_fetches_total',
];

export interface CrowdBlob {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly seed: string;
}

/** Nodes round one origin that is capped, and blobs by their seed. */
export class Crowd implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly #blobs: ReadonlyMap<string, CrowdBlob>;
  /** Bytes per second. */
  #originRate: number;

  constructor(cluster: Cluster, blobs: ReadonlyMap<string, CrowdBlob>, originRate: number) {
    this.cluster = cluster;
    this.#blobs = blobs;
    this.#originRate = originRate;
  }

  /** @param blobs sizes in bytes, by seed. */
  static async start(
    blobs: Readonly<Record<string, number>>,
    options: Omit<ClusterOptions, 'origin' | 'peers'> & {
      readonly originRate: number;
      readonly transport?: 'auto' | 'tls' | 'libp2p';
    },
  ): Promise<Crowd> {
    const wanted = Object.entries(blobs).map(([seed, size]) => ({ seed, size }));
    const cluster = await startCluster({
      ...options,
      peers: options.transport === undefined ? {} : { transport: options.transport },
      origin: { repositories: { [REPOSITORY]: { blobs: wanted } } },
    });
    const made = cluster.origin.repositories[REPOSITORY]?.blobs ?? [];
    const named = wanted.flatMap(({ seed }, index): [string, CrowdBlob][] => {
      const blob = made[index];
      return blob === undefined ? [] : [[seed, { ...blob, seed }]];
    });
    return new Crowd(cluster, new Map(named), options.originRate);
  }

  get nodes(): readonly ClusterNode[] {
    return this.cluster.nodes;
  }

  node(index: number): ClusterNode {
    return this.cluster.node(index);
  }

  blob(seed: string): CrowdBlob {
    const blob = this.#blobs.get(seed);
    if (blob === undefined) throw new Error(`there is no blob ${seed}`);
    return blob;
  }

  async setOriginRate(bytesPerSecond: number): Promise<void> {
    this.#originRate = bytesPerSecond;
    await this.cluster.origin.setBytesPerSecond(bytesPerSecond);
  }

  /** What so many readers take that have no mirror. */
  noMirrorMs({ size }: CrowdBlob, readers: number): number {
    return (readers * size * 1000) / this.#originRate;
  }

  /** One whole read at each node, all at once. */
  readAll(blob: CrowdBlob, nodes: readonly ClusterNode[] = this.nodes): Promise<ReadOutcome[]> {
    return Promise.all(nodes.map((node) => this.read(node, blob)));
  }

  /** The whole blob in one GET, or in ranges of `step` bytes one after another. */
  read(node: ClusterNode, blob: CrowdBlob, step?: number): Promise<ReadOutcome> {
    return node.read({
      blob,
      lanes: [step === undefined ? [null] : spansOf(blob, step)],
      timeoutMs: this.noMirrorMs(blob, this.nodes.length) + 60_000,
    });
  }

  /** Every byte came and was right, within the time of no mirror and the budget (from `sinceMs` of the epoch on). */
  assertRight(
    blob: CrowdBlob,
    outcomes: readonly ReadOutcome[],
    limits: { readonly sinceMs?: number; readonly budgetMs?: number } = {},
  ): void {
    const { budgetMs = BUDGET_MS } = limits;
    for (const outcome of outcomes) {
      assert.equal(outcome.failure, null);
      assert.equal(outcome.wrongBytes, 0, 'wrong bytes');
      assert.ok(outcome.bytes >= blob.size, `${outcome.bytes} of ${blob.size} bytes`);
      const tookMs = outcome.endedAtMs - Math.max(outcome.startedAtMs, limits.sinceMs ?? 0);
      const mayMs = this.noMirrorMs(blob, outcomes.length) + budgetMs;
      assert.ok(tookMs <= mayMs, `${blob.seed} took ${Math.round(tookMs)} ms of ${Math.round(mayMs)}`);
    }
  }

  /** Bytes of the blob that the origin has sent, once no more are coming, in pieces of 1 MiB. */
  async originPieces({ path }: CrowdBlob): Promise<number> {
    const { origin } = this.cluster;
    let before = -1;
    await eventually(
      async () => {
        const sent = await origin.bytesSent({ path });
        const isSame = sent === before;
        before = sent;
        return isSame;
      },
      { timeoutMs: 15_000, everyMs: 300, what: 'the origin is idle' },
    );
    return before / MIB;
  }

  /** The origin was read once, and `extra` pieces more at most. */
  async assertCost(t: Pick<TestContext, 'diagnostic'>, blob: CrowdBlob, extra: number): Promise<void> {
    const pieces = await this.originPieces(blob);
    t.diagnostic(`${blob.seed}: the origin sent ${(pieces / (blob.size / MIB)).toFixed(3)} x the blob`);
    if (pieces <= blob.size / MIB + extra) return;
    assert.fail(`the origin sent ${pieces} pieces of ${blob.size / MIB}; ${await this.#why()}`);
  }

  /** Of nodes that run: how they came to read the origin. */
  async #why(): Promise<string> {
    const running = this.nodes.filter((node) => node.isAlive);
    const all = await Promise.all(running.map((node) => node.metrics().catch(() => undefined)));
    const told = WHY.map((name) => {
      const samples = all.flatMap((metrics) => metrics?.all ?? []).filter((one) => one.name === name);
      const by = Map.groupBy(samples, ({ labels }) => Object.values(labels).join(' '));
      const sums = [...by].map(
        ([label, own]) => `${label} ${own.reduce((sum, { value }) => sum + value, 0)}`,
      );
      return `${name.replace(/^damselfly_|_total$/g, '')}: ${sums.join(', ')}`;
    });
    return told.join('; ');
  }

  /** Resolves once so many body bytes more have come at this node's client. */
  async progress(node: ClusterNode, bytes: number, before: number): Promise<void> {
    await eventually(async () => (await node.agent.progress()) - before >= bytes, {
      ...{ timeoutMs: 60_000, everyMs: POLL_MS, what: `${node.name} has read ${bytes} bytes` },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.close();
  }
}

/** Piece bytes between this node and other members, both ways, since it started. */
export async function exchanged(node: ClusterNode): Promise<number> {
  const totals = (await node.status()).peers?.totals;
  return (totals?.receivedBytes ?? 0) + (totals?.sentBytes ?? 0);
}

/** Its name in the swarm. */
export async function idOf(node: ClusterNode): Promise<PeerId> {
  const id = (await node.status()).peers?.id;
  assert.ok(id, `${node.name} has no peers`);
  return id;
}

/** Who plans a segment among members of these names, in order. */
export function planners(blob: CrowdBlob, segment: number, ids: readonly PeerId[]): PeerId[] {
  const digest = parseDigest(blob.digest);
  assert.ok(digest);
  const members = ids.toSorted().map((id) => ({ id, data: [], control: [], zone: '', epoch: 1 }));
  return ranks(digest, segment, committee(digest, members)).map(({ id }) => id);
}

export function spansOf({ size }: { readonly size: number }, step: number) {
  return Array.from({ length: Math.ceil(size / step) }, (_, index) => ({
    start: index * step,
    end: Math.min(size, (index + 1) * step),
  }));
}
