import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startOriginProcess } from '../support/origin-process.ts';
import { lacking } from './support/capabilities.ts';
import { Damselfly, killAndRestart } from './support/damselfly.ts';
import { realTree } from './support/images.ts';
import { buildRafs, type RafsImage } from './support/nydus-image.ts';
import { mountNydus, type NydusMount, type NydusRoute } from './support/nydusd.ts';
import { pushBlob } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { compareTrees, type TreeComparison } from './support/tree-compare.ts';

const REPOSITORY = 'lab/nydus';
const MAX_AMPLIFICATION = 1.05;
/** Slow enough for the node to come back in mid-read, wherever nydusd reads. */
const SLOW_ORIGIN_BYTES_PER_SECOND = 12e6;
const skip = lacking('nydusd', 'nydus-image', 'docker-registry', 'fuse', 'root');

// The main job: a real nydusd reads a real tree through a node, from a real registry.
describe('nydusd through Damselfly', { skip }, () => {
  const shared = new Scope();
  let registry: Registry;
  let tree: string;
  const images = new Map<number, RafsImage>();

  before(async () => {
    registry = await startRegistry(shared);
    tree = await realTree(shared);
    const folder = await shared.folder('rafs');
    for (const version of [5, 6] as const) {
      const image = await buildRafs(tree, folder, version);
      const { digest, file } = image.blob;
      await pushBlob({ registry, repository: REPOSITORY }, { digest, content: { file } });
      images.set(version, image);
    }
  });
  after(() => shared.close());

  for (const version of [5, 6] as const) {
    for (const kind of ['mirrors', 'proxy'] as const) {
      for (const prefetch of [false, true]) {
        const name = `RAFS v${version}, ${kind}, prefetch ${prefetch ? 'on' : 'off'}`;
        it(`${name}: every file equals its source, cold and warm, and warm takes nothing from the origin`, async () => {
          await withNode(async (scope, node) => {
            const image = imageOf(version);
            const from = (await registry.requests()).length;
            const mounting = { image, route: routeOf(kind, node), prefetch };
            await compareOnce(scope, mounting);
            const cold = await registry.blobBytes(from);
            assert.ok(
              cold <= image.blob.size * MAX_AMPLIFICATION,
              `${cold / image.blob.size} times the blob`,
            );
            // No read went round the node: nydusd falls back to the registry in silence, and names no user agent.
            const askers = new Set((await registry.requests()).slice(from).map(({ userAgent }) => userAgent));
            assert.deepEqual(
              [...askers].filter((agent) => !agent.startsWith('damselfly/')),
              [],
            );
            assert.ok((await node.metric('damselfly_requested_bytes_total')) >= image.blob.size * 0.95);

            const warmFrom = (await registry.requests()).length;
            await compareOnce(scope, mounting);
            assert.equal(await registry.blobBytes(warmFrom), 0);
          });
        });
      }
    }
  }

  for (const [kind, version, prefetch] of [
    ['mirrors', 5, true],
    ['mirrors', 6, false],
    ['proxy', 5, false],
    ['proxy', 6, true],
  ] as const) {
    it(`RAFS v${version}, ${kind}: no read fails while the node is killed in mid-read and started again`, async () => {
      const scope = new Scope();
      try {
        const image = imageOf(version);
        // In a process of its own: this one's thread pool waits in reads of the mount, which wait for the origin.
        const origin = await startOriginProcess({
          bytesPerSecond: SLOW_ORIGIN_BYTES_PER_SECOND,
          repositories: { [REPOSITORY]: { files: [image.blob.file] } },
        });
        scope.defer(() => origin.close());
        const node = await Damselfly.start(scope, { origins: [origin.host] });
        const route = routeOf(kind, node, origin.url);
        const mount = await mounted(scope, { image, route, prefetch }, origin.host);
        const reading = new AbortController();
        const [compared] = await Promise.all([
          compareTrees(tree, mount.mountpoint).finally(() => reading.abort()),
          killAndRestart(node, image.blob.size, reading.signal),
        ]);
        expectEqual(compared);
        await mount.unmount();
      } finally {
        await scope.close();
      }
    });
  }

  function imageOf(version: number): RafsImage {
    const image = images.get(version);
    assert.ok(image);
    return image;
  }

  async function withNode(work: (scope: Scope, node: Damselfly) => Promise<void>): Promise<void> {
    const scope = new Scope();
    try {
      await work(scope, await Damselfly.start(scope, { origins: [registry.host] }));
    } finally {
      await scope.close();
    }
  }

  function routeOf(kind: 'mirrors' | 'proxy', node: Damselfly, originUrl = registry.url): NydusRoute {
    const pingUrl = `${node.url}/ping`;
    if (kind === 'proxy') return { kind, url: node.url, pingUrl };
    return { kind, url: node.url, pingUrl, registryHeader: originUrl };
  }

  interface Mounting {
    readonly image: RafsImage;
    readonly route: NydusRoute;
    readonly prefetch: boolean;
  }

  /** Each mount has a new cache folder: what was read before comes from the node or from the registry. */
  async function mounted(
    scope: Scope,
    mounting: Mounting,
    registryHost = registry.host,
  ): Promise<NydusMount> {
    return await mountNydus(scope, { ...mounting, registryHost, repository: REPOSITORY });
  }

  async function compareOnce(scope: Scope, mounting: Mounting): Promise<void> {
    const mount = await mounted(scope, mounting);
    expectEqual(await compareTrees(tree, mount.mountpoint));
    await mount.unmount();
  }
});

function expectEqual({ bytes, differences, entries }: TreeComparison): void {
  assert.deepEqual(differences, []);
  assert.ok(entries > 1_000, `only ${entries} entries`);
  assert.ok(bytes > 100e6, `only ${bytes} bytes`);
}
