import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Cluster, startCluster } from '../support/cluster/cluster.ts';
import type { ClusterNode } from '../support/cluster/cluster-node.ts';
import { eventually } from '../support/eventually.ts';
import { type Recorder, startRecorder } from '../support/recorder.ts';
import { makeTree } from '../support/tree.ts';
import { lacking } from './support/capabilities.ts';
import { buildRafs, type RafsImage } from './support/nydus-image.ts';
import {
  blobReads,
  originCost,
  readMount,
  routeThrough,
  touchedPieces,
  whatNodesSay,
} from './support/nydus-nodes.ts';
import { mountNydus, type NydusMount } from './support/nydusd.ts';
import { Scope } from './support/scope.ts';
import type { TreeComparison } from './support/tree-compare.ts';

const REPOSITORY = 'lab/nydus';
/** Makes some 2,500 files, and a blob of some 45 pieces. */
const TREE = { seed: 'lazy crowd', bytes: 110 << 20 };
const NODES = 4;
const MIN_FILES = 2_000;
const MIN_PIECES = 40;
const MAX_AMPLIFICATION = 1.1;
const MAX_AMPLIFICATION_WITH_A_DEATH = 1.3;
const MAX_SECOND_SHARE = 0.02;
/** Slow enough for a node to be killed in mid-read. */
const SLOW_ORIGIN_BYTES_PER_SECOND = 15e6;
const KILLED_AT_SHARE = 0.3;
const skip = lacking('nydusd', 'nydus-image', 'fuse', 'root');

interface Reader {
  readonly mount: NydusMount;
  readonly recorder: Recorder;
}

// Real nydusds that read one cold image through nodes of one swarm, each through its own.
describe('nydusd through a swarm', { skip }, () => {
  const shared = new Scope();
  let tree: string;
  let files: number;
  let image: RafsImage;

  before(async () => {
    const folder = await shared.folder('rafs');
    tree = join(folder, 'tree');
    ({ files } = await makeTree(tree, TREE));
    assert.ok(files >= MIN_FILES, `only ${files} files`);
    image = await buildRafs(tree, folder, 6);
  });
  after(() => shared.close());

  it('four mounts read a cold image at once: all of it is right, and the origin is read once', async (t) => {
    await withCluster(NODES, undefined, async (scope, cluster) => {
      const readers = await recordedAll(scope, cluster);
      const compared = await Promise.all(readers.map(({ mount }) => readMount(tree, mount.mountpoint)));
      for (const one of compared) expectEqual(one);
      await Promise.all(readers.map(({ mount }) => mount.unmount()));

      // Every mount read every piece through its own node: counted in front of the nodes, not by them.
      const touched = touchedPieces(
        readers.map(({ recorder }) => recorder),
        image.blob,
      );
      assert.ok(touched.pieces >= MIN_PIECES, `only ${touched.pieces} pieces`);
      for (const { recorder } of readers)
        assert.equal(touchedPieces([recorder], image.blob).pieces, touched.pieces);
      const { toClients, toNodes } = await originCost(cluster.origin, image.blob);
      assert.equal(toClients, 0);
      const amplification = toNodes / touched.bytes;
      t.diagnostic(`${touched.pieces} pieces touched, ${amplification.toFixed(3)} times from the origin`);
      assert.ok(
        amplification <= MAX_AMPLIFICATION,
        `the origin sent ${amplification} times the ${touched.pieces} pieces touched\n${await whatNodesSay(cluster)}`,
      );
    });
  });

  it('a mount that reads after another one takes its bytes from the other node', async (t) => {
    await withCluster(2, undefined, async (scope, cluster) => {
      const costs: number[] = [];
      for (const node of cluster.nodes) {
        const { mount, recorder } = await recorded(scope, cluster, node, 'mirrors');
        expectEqual(await readMount(tree, mount.mountpoint));
        await mount.unmount();
        assert.ok(blobReads(recorder.requests, image.blob.digest).length > 0);
        const { toClients, toNodes } = await originCost(cluster.origin, image.blob);
        assert.equal(toClients, 0);
        costs.push(toNodes);
      }
      const [first = 0, both = 0] = costs;
      const share = (both - first) / first;
      t.diagnostic(`the second took ${(share * 100).toFixed(2)} % from the origin`);
      assert.ok(
        share <= MAX_SECOND_SHARE,
        `the second took ${share} of what the first had taken\n${await whatNodesSay(cluster)}`,
      );
    });
  });

  it('one node is killed in mid-read: its mount goes on without it, the others with each other', async (t) => {
    await withCluster(NODES, SLOW_ORIGIN_BYTES_PER_SECOND, async (scope, cluster) => {
      const readers = await recordedAll(scope, cluster);
      const reading = new AbortController();
      const victim = cluster.node(NODES - 1);
      const [compared] = await Promise.all([
        Promise.all(
          readers.map(({ mount }) => readMount(tree, mount.mountpoint).finally(() => reading.abort())),
        ),
        killInMidRead(cluster, victim, reading.signal),
      ]);
      for (const one of compared) expectEqual(one);
      await Promise.all(readers.map(({ mount }) => mount.unmount()));

      // The other mounts had every byte from their own nodes, and only the victim's went to the origin itself.
      const pieces = touchedPieces(
        readers.map(({ recorder }) => recorder),
        image.blob,
      ).pieces;
      for (const [index, { recorder }] of readers.slice(0, NODES - 1).entries()) {
        const node = cluster.node(index);
        assert.ok(node.isAlive, `${node.name} ended:\n${await node.log()}`);
        const failed = recorder.requests.filter(
          ({ path, status }) => path.includes('/blobs/') && status !== 206,
        );
        assert.deepEqual(failed, [], node.name);
        assert.equal(touchedPieces([recorder], image.blob).pieces, pieces);
      }
      const { toClients, toNodes } = await originCost(cluster.origin, image.blob);
      t.diagnostic(`the nodes took ${(toNodes / image.blob.size).toFixed(3)} times the blob`);
      assert.ok(toClients > 0);
      assert.ok(
        toNodes <= image.blob.size * MAX_AMPLIFICATION_WITH_A_DEATH,
        `the nodes took ${toNodes / image.blob.size} times the blob\n${await whatNodesSay(cluster)}`,
      );
    });
  });

  async function killInMidRead(cluster: Cluster, victim: ClusterNode, over: AbortSignal): Promise<void> {
    const enough = image.blob.size * KILLED_AT_SHARE;
    await eventually(async () => over.aborted || (await cluster.origin.bytesSent()) >= enough, {
      timeoutMs: 60_000,
      what: `the origin sent ${KILLED_AT_SHARE} of the blob`,
    });
    if (over.aborted) throw new Error('a read was over before the node had been killed');
    await victim.kill();
  }

  async function withCluster(
    nodes: number,
    bytesPerSecond: number | undefined,
    work: (scope: Scope, cluster: Cluster) => Promise<void>,
  ): Promise<void> {
    const scope = new Scope();
    try {
      const cluster = await startCluster({
        nodes,
        peers: {},
        origin: {
          repositories: { [REPOSITORY]: { files: [image.blob.file] } },
          ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        },
      });
      scope.defer(() => cluster.close());
      await work(scope, cluster);
    } finally {
      await scope.close();
    }
  }

  /** One of each node, by turns as a mirror and as a proxy. */
  function recordedAll(scope: Scope, cluster: Cluster): Promise<Reader[]> {
    return Promise.all(
      cluster.nodes.map((node, index) =>
        recorded(scope, cluster, node, index % 2 === 0 ? 'mirrors' : 'proxy'),
      ),
    );
  }

  /** A mount through a node, with a recorder between the two. */
  async function recorded(
    scope: Scope,
    cluster: Cluster,
    node: ClusterNode,
    kind: 'mirrors' | 'proxy',
  ): Promise<Reader> {
    const recorder = await startRecorder(new URL(node.url).host);
    scope.defer(() => recorder.close());
    const mount = await mountNydus(scope, {
      ...{ image, prefetch: false, registryHost: cluster.origin.host, repository: REPOSITORY },
      route: routeThrough(kind, recorder.url, cluster.origin.url),
    });
    return { mount, recorder };
  }

  function expectEqual({ bytes, differences, entries }: TreeComparison): void {
    assert.deepEqual(differences, []);
    assert.ok(entries >= files, `only ${entries} entries`);
    assert.ok(bytes >= TREE.bytes * 0.9, `only ${bytes} bytes`);
  }
});
