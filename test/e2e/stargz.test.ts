import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { OciImage } from '../support/oci.ts';
import { type Recorder, startRecorder } from '../support/recorder.ts';
import { lacking } from './support/capabilities.ts';
import { type Containerd, hostsFolder, startContainerd } from './support/containerd.ts';
import { Damselfly } from './support/damselfly.ts';
import { realTree } from './support/images.ts';
import { pushImage } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { estargzImage, startStargz } from './support/stargz.ts';
import { compareTrees } from './support/tree-compare.ts';

const REPOSITORY = 'lab/estargz';
const MAX_AMPLIFICATION = 1.05;
const skip = lacking('containerd-2', 'ctr-2', 'stargz', 'estargz', 'registry-3', 'fuse', 'root');

// Lazy reads through the mirror that stargz-snapshotter is told of. (It asks for several ranges at once only when it
// prefetches around what it has; reads of a mount leave no gaps. Such requests are replayed in integration/.)
describe('stargz-snapshotter through Damselfly', { skip }, () => {
  const shared = new Scope();
  let registry: Registry;
  let tree: string;
  let image: OciImage;

  before(async () => {
    registry = await startRegistry(shared, 'anonymous', 'registry-3');
    tree = await realTree(shared, '@biomejs');
    image = await estargzImage(shared, tree);
    await pushImage({ registry, repository: REPOSITORY }, image, 'v1');
  });
  after(() => shared.close());

  it('one file costs a part of the layer, all of them once the layer, and a second mount nothing', async () => {
    await within(async (scope) => {
      const node = await Damselfly.start(scope, { origins: [registry.host] });
      const recorder = await startRecorder(node.host);
      scope.defer(() => recorder.close());

      const coldFrom = (await registry.requests()).length;
      await within(async (client) => {
        const root = await mounted(client, node, recorder);
        const name = 'real/biome/package.json';
        assert.deepEqual(await readFile(join(root, name)), await readFile(join(tree, name)));
        const one = await registry.blobBytes(coldFrom);
        assert.ok(one < image.blobBytes / 2, `one file took ${one} of ${image.blobBytes} bytes`);
        const compared = await compareTrees(tree, root);
        assert.deepEqual(compared.differences, []);
        assert.ok(compared.bytes > 10e6, `only ${compared.bytes} bytes`);
      });
      const cold = await registry.blobBytes(coldFrom);
      assert.ok(cold <= image.blobBytes * MAX_AMPLIFICATION, `${cold / image.blobBytes} times the layer`);
      const reads = recorder.requests.filter(({ range }) => range !== null);
      assert.ok(reads.length > 50, `only ${reads.length} ranged reads`);
      assert.deepEqual([...new Set(reads.map(({ status }) => status))], [206]);

      const warmFrom = (await registry.requests()).length;
      await within(async (client) => {
        const compared = await compareTrees(tree, await mounted(client, node, recorder));
        assert.deepEqual(compared.differences, []);
      });
      assert.equal(await registry.blobBytes(warmFrom), 0);
      const strangers = (await registry.requests())
        .slice(coldFrom)
        .filter(({ userAgent }) => !userAgent.startsWith('damselfly/'));
      assert.deepEqual(strangers, [], 'a read went round the node');
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

  /** Pulled without the layer, by a containerd and a snapshotter that knew nothing. */
  async function mounted(scope: Scope, node: Damselfly, recorder: Recorder): Promise<string> {
    const { socket } = await startStargz(scope, { registryHost: registry.host, mirrorHost: recorder.host });
    const containerd: Containerd = await startContainerd(scope, {
      version: 2,
      remoteSnapshotter: { name: 'stargz', socket },
    });
    await containerd.pull({
      reference: `${registry.host}/${REPOSITORY}:v1`,
      hostsFolder: await hostsFolder(scope, registry.host, node.url),
    });
    const [snapshot] = await containerd.snapshots();
    assert.ok(snapshot);
    return await containerd.mount(scope, snapshot, 'e2e');
  }
});
