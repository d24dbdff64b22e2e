import { fileURLToPath } from 'node:url';
import type { Digest } from '../../../src/blob/digest.ts';
import type { Cluster } from '../../support/cluster/cluster.ts';
import type { ClusterNode } from '../../support/cluster/cluster-node.ts';
import { headerValues } from '../../support/origin/log.ts';
import type { OriginProcess } from '../../support/origin-process.ts';
import type { RecordedRequest, Recorder } from '../../support/recorder.ts';
import { command } from './command.ts';
import type { RafsImage } from './nydus-image.ts';
import type { NydusRoute } from './nydusd.ts';
import type { TreeComparison } from './tree-compare.ts';

const COMPARE_MAIN = fileURLToPath(new URL('compare-main.ts', import.meta.url));
const READ_TIMEOUT_MS = 90_000;
const PIECE_BYTES = 1 << 20;

/** How nydusd is told of a node, or of a recorder in front of it. */
export function routeThrough(kind: 'mirrors' | 'proxy', url: string, originUrl: string): NydusRoute {
  const pingUrl = `${url}/ping`;
  return kind === 'proxy' ? { kind, url, pingUrl } : { kind, url, pingUrl, registryHeader: originUrl };
}

/** Compares a mount with its source in a process of its own. */
export async function readMount(tree: string, mountpoint: string): Promise<TreeComparison> {
  const args = ['--disable-warning=ExperimentalWarning', COMPARE_MAIN, tree, mountpoint];
  return JSON.parse(await command(process.execPath, args, { timeoutMs: READ_TIMEOUT_MS })) as TreeComparison;
}

export interface Touched {
  readonly pieces: number;
  /** Of these pieces, the last one of a blob being shorter. */
  readonly bytes: number;
}

/** The pieces that clients asked for, each counted once, however many clients asked for it at however many nodes. */
export function touchedPieces(recorders: readonly Recorder[], blob: RafsImage['blob']): Touched {
  const touched = new Set<number>();
  for (const { range, ranges } of recorders.flatMap(({ requests }) => blobReads(requests, blob.digest))) {
    for (const [first, last] of ranges ?? [range ?? [0, null]]) {
      const end = Math.min(blob.size, (last ?? blob.size - 1) + 1);
      for (let piece = Math.floor(first / PIECE_BYTES); piece * PIECE_BYTES < end; piece += 1)
        touched.add(piece);
    }
  }
  const bytes = [...touched].reduce(
    (sum, piece) => sum + Math.min(PIECE_BYTES, blob.size - piece * PIECE_BYTES),
    0,
  );
  return { pieces: touched.size, bytes };
}

/** Those that were answered with bytes of the blob. */
export function blobReads(requests: readonly RecordedRequest[], digest: string): RecordedRequest[] {
  return requests.filter(
    ({ method, path, status }) =>
      method === 'GET' && (status === 200 || status === 206) && path.includes(digest),
  );
}

export interface OriginCost {
  /** Body bytes of the blob that nodes took from the origin. */
  readonly toNodes: number;
  /** And that clients took, past their nodes. */
  readonly toClients: number;
}

export async function originCost(origin: OriginProcess, blob: RafsImage['blob']): Promise<OriginCost> {
  await origin.idle();
  const reads = await origin.requests({ method: 'GET', endpoint: 'blob', digest: blob.digest as Digest });
  const cost = { toNodes: 0, toClients: 0 };
  for (const { bytesSent, rawHeaders } of reads) {
    const isNode = headerValues(rawHeaders, 'user-agent').some((agent) => agent.startsWith('damselfly/'));
    cost[isNode ? 'toNodes' : 'toClients'] += bytesSent;
  }
  return cost;
}

/** For the message of a failure: what each running node says that it took from where. */
export async function whatNodesSay(cluster: Cluster): Promise<string> {
  const running = cluster.nodes.filter((node) => node.isAlive);
  return (await Promise.all(running.map(whatNodeSays))).join('\n');
}

async function whatNodeSays(node: ClusterNode): Promise<string> {
  const metrics = await node.metrics();
  const names = [
    'damselfly_pieces_total',
    'damselfly_received_bytes_total',
    'damselfly_unleased_origin_reads_total',
    'damselfly_hedged_bytes_total',
    'damselfly_peer_dropped_pieces_total',
    'damselfly_contested_pieces_total',
    'damselfly_leases_granted_total',
    'damselfly_leases_ended_total',
  ];
  const said = metrics.all
    .filter(({ name, value }) => names.includes(name) && value > 0)
    .map(({ name, labels, value }) => `${name}${JSON.stringify(labels)} ${value}`);
  return `${node.name}: ${said.join(', ')}`;
}
