import { writeFile } from 'node:fs/promises';
import type { OciImage } from '../support/oci.ts';
import { type Recorder, startRecorder } from '../support/recorder.ts';
import type { Trace } from '../support/trace.ts';
import { clientVersion } from './support/capabilities.ts';
import { type Containerd, hostsFolder, startContainerd } from './support/containerd.ts';
import { Damselfly } from './support/damselfly.ts';
import { oneLayerImage, realTree } from './support/images.ts';
import { buildRafs } from './support/nydus-image.ts';
import { nydusOciImage, startNydusSnapshotter } from './support/nydus-snapshotter.ts';
import { pushImage } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { estargzImage, startStargz } from './support/stargz.ts';
import { compareTrees } from './support/tree-compare.ts';

// Records what real clients ask a node for, into fixtures/traces: run by hand, as root, after clients/install.sh.

interface Stage {
  readonly scope: Scope;
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly folder: string;
}

/** @returns the image that was read. */
type Recording = (stage: Stage) => Promise<OciImage>;

const containerdVersion = clientVersion('containerd');

const RECORDINGS: Readonly<Record<string, { client: string; note: string; record: Recording }>> = {
  [`containerd-${containerdVersion}-sequential`]: {
    client: `containerd ${containerdVersion}`,
    note: 'one layer of 32 MiB, as it does by default',
    record: async ({ scope, registry, folder }) => {
      const image = await oneLayerImage(scope, 32 << 20);
      await pull(await startContainerd(scope, { version: 2 }), registry, image, folder);
      return image;
    },
  },
  [`stargz-${clientVersion('stargz-snapshotter')}-whole-layer`]: {
    client: `containerd ${containerdVersion}, stargz-snapshotter ${clientVersion('stargz-snapshotter')}`,
    note: 'every file of one eStargz layer read, without prefetch and background fetch',
    record: async ({ scope, registry, recorder, folder }) => {
      const tree = await realTree(scope, '@biomejs');
      const image = await estargzImage(scope, tree);
      const { socket } = await startStargz(scope, {
        registryHost: registry.host,
        mirrorHost: recorder.host,
      });
      await lazily(scope, { name: 'stargz', socket }, { registry, image, folder, tree });
      return image;
    },
  },
  [`nydus-snapshotter-${clientVersion('nydus-snapshotter')}-whole-tree`]: {
    client: `containerd ${containerdVersion}, nydus-snapshotter ${clientVersion('nydus-snapshotter')}, nydusd 2.2.0`,
    note: 'RAFS v6; manifests and bootstrap in mirror form, the blob in proxy form',
    record: async ({ scope, registry, recorder, folder }) => {
      const tree = await realTree(scope, '@biomejs');
      const image = await nydusOciImage(scope, await buildRafs(tree, await scope.folder('rafs'), 6));
      const { socket } = await startNydusSnapshotter(scope, { kind: 'proxy', url: recorder.url });
      await lazily(scope, { name: 'nydus', socket }, { registry, image, folder, tree });
      return image;
    },
  },
};

async function pull(
  containerd: Containerd,
  registry: Registry,
  image: OciImage,
  folder: string,
): Promise<void> {
  await pushImage({ registry, repository: 'lab/img' }, image, 'v1');
  await containerd.pull({ reference: `${registry.host}/lab/img:v1`, hostsFolder: folder });
}

async function lazily(
  scope: Scope,
  remoteSnapshotter: { readonly name: string; readonly socket: string },
  what: {
    readonly registry: Registry;
    readonly image: OciImage;
    readonly folder: string;
    readonly tree: string;
  },
): Promise<void> {
  const containerd = await startContainerd(scope, { version: 2, remoteSnapshotter });
  await pull(containerd, what.registry, what.image, what.folder);
  const [snapshot = ''] = await containerd.snapshots();
  const { differences } = await compareTrees(what.tree, await containerd.mount(scope, snapshot, 'recorded'), {
    readers: 1,
  });
  if (differences.length > 0) throw new Error(differences.join('\n'));
}

for (const [name, { client, note, record }] of Object.entries(RECORDINGS)) {
  const scope = new Scope();
  try {
    const registry = await startRegistry(scope, 'anonymous', 'registry-3');
    const node = await Damselfly.start(scope, { origins: [registry.host] });
    const recorder = await startRecorder(node.host);
    scope.defer(() => recorder.close());
    const folder = await hostsFolder(scope, registry.host, recorder.url);
    const image = await record({ scope, registry, recorder, folder });
    const [layer] = image.manifests[0].layers;
    const anonymous = (path: string) =>
      path.replace(/127\.0\.0\.1:\d+/, 'reg.lab').replace(/127\.0\.0\.1%3A\d+/, 'reg.lab');
    const trace: Trace = {
      client,
      note,
      blobSize: layer?.size ?? 0,
      requests: recorder.requests
        .filter(({ path }) => !path.endsWith('/ping'))
        .map(({ userAgent: _, status: __, path, ...request }) => ({ ...request, path: anonymous(path) })),
    };
    const file = new URL(`../fixtures/traces/${name}.json`, import.meta.url);
    await writeFile(file, `${JSON.stringify(trace)}\n`);
    process.stdout.write(`${name}: ${trace.requests.length} requests\n`);
  } finally {
    await scope.close();
  }
}
