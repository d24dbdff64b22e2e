import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { OciImage } from '../support/oci.ts';
import { startOriginProcess } from '../support/origin-process.ts';
import { lacking } from './support/capabilities.ts';
import { type Containerd, hostsFolder, startContainerd } from './support/containerd.ts';
import { Damselfly, killAndRestart } from './support/damselfly.ts';
import { realTree } from './support/images.ts';
import { buildRafs } from './support/nydus-image.ts';
import { nydusOciImage, startNydusSnapshotter } from './support/nydus-snapshotter.ts';
import { pushImage } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { compareTrees, type TreeComparison } from './support/tree-compare.ts';

const REPOSITORY = 'lab/nydus';
const MAX_AMPLIFICATION = 1.05;
/** Slow enough for the node to come back in mid-read. */
const SLOW_ORIGIN_BYTES_PER_SECOND = 20e6;
const skip = lacking(
  'containerd-2',
  'ctr-2',
  'containerd-nydus-grpc',
  'nydusd',
  'nydus-image',
  'registry-3',
  'fuse',
  'root',
);

// containerd asks for manifests in mirror form, nydusd for data in proxy form, and one node serves both.
describe('containerd 2, nydus-snapshotter and nydusd through Damselfly', { skip }, () => {
  const shared = new Scope();
  let registry: Registry;
  let tree: string;
  let image: OciImage;

  before(async () => {
    registry = await startRegistry(shared, 'anonymous', 'registry-3');
    tree = await realTree(shared);
    const rafs = await buildRafs(tree, await shared.folder('rafs'), 6);
    image = await nydusOciImage(shared, rafs);
    await pushImage({ registry, repository: REPOSITORY }, image, 'v6');
  });
  after(() => shared.close());

  for (const kind of ['proxy', 'mirror'] as const) {
    it(`${kind}: an image is pulled without its blob, mounted, and every file equals its source`, async () => {
      await within(async (scope) => {
        const node = await Damselfly.start(scope, {
          origins: [registry.host],
          // What nydusd sends in the mirror form names no registry.
          ...(kind === 'mirror' ? { defaultOrigin: registry.host } : {}),
        });
        for (const state of ['cold', 'warm'] as const) {
          const from = (await registry.requests()).length;
          await within(async (client) => {
            const { containerd, reference } = await pulled(client, kind, node, registry.host);
            const taken = await registry.blobBytes(from);
            assert.ok(taken < image.blobBytes / 4, `the pull itself took ${taken} bytes`);
            expectEqual(await compareTrees(tree, await mounted(client, containerd)));
            assert.equal(await containerd.digestOf(reference), image.root.digest);
          });
          const requests = (await registry.requests()).slice(from);
          const bytes = await registry.blobBytes(from);
          if (state === 'warm') assert.equal(bytes, 0);
          else assert.ok(bytes <= image.blobBytes * MAX_AMPLIFICATION, `${bytes / image.blobBytes} times`);
          const strangers = requests.filter(({ userAgent }) => !userAgent.startsWith('damselfly/'));
          assert.deepEqual(strangers, [], 'a read went round the node');
        }
      });
    });
  }

  it('proxy: no read fails while the node is killed in mid-read and started again', async () => {
    await within(async (scope) => {
      // In a process of its own: this one's thread pool waits in reads of the mount, which wait for the origin.
      const origin = await startOriginProcess({
        bytesPerSecond: SLOW_ORIGIN_BYTES_PER_SECOND,
        repositories: { [REPOSITORY]: { layouts: { v6: image.layout } } },
      });
      scope.defer(() => origin.close());
      const node = await Damselfly.start(scope, { origins: [origin.host] });
      const { containerd } = await pulled(scope, 'proxy', node, origin.host);
      const root = await mounted(scope, containerd);
      const reading = new AbortController();
      const [compared] = await Promise.all([
        compareTrees(tree, root).finally(() => reading.abort()),
        killAndRestart(node, image.blobBytes, reading.signal),
      ]);
      expectEqual(compared);
    });
  });

  async function within(work: (scope: Scope) => Promise<void>): Promise<void> {
    const scope = new Scope();
    try {
      await work(scope);
    } finally {
      await scope.close();
    }
  }

  /** The image in a containerd and a snapshotter that knew nothing. */
  async function pulled(
    scope: Scope,
    kind: 'proxy' | 'mirror',
    node: Damselfly,
    registryHost: string,
  ): Promise<{ containerd: Containerd; reference: string }> {
    const folder = await hostsFolder(scope, registryHost, node.url);
    const { socket } = await startNydusSnapshotter(
      scope,
      kind === 'proxy' ? { kind, url: node.url } : { kind, hostsFolder: folder },
    );
    const containerd = await startContainerd(scope, {
      version: 2,
      remoteSnapshotter: { name: 'nydus', socket },
    });
    const reference = `${registryHost}/${REPOSITORY}:v6`;
    await containerd.pull({ reference, hostsFolder: folder });
    return { containerd, reference };
  }

  async function mounted(scope: Scope, containerd: Containerd): Promise<string> {
    const [snapshot] = await containerd.snapshots();
    assert.ok(snapshot);
    return await containerd.mount(scope, snapshot, 'e2e');
  }
});

function expectEqual({ bytes, differences, entries }: TreeComparison): void {
  assert.deepEqual(differences, []);
  assert.ok(entries > 1_000, `only ${entries} entries`);
  assert.ok(bytes > 100e6, `only ${bytes} bytes`);
}
