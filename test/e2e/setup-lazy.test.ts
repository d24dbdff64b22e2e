import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from '@decimalturn/toml-patch';
import { lacking, program } from './support/capabilities.ts';
import { command } from './support/command.ts';
import { startContainerd } from './support/containerd.ts';
import { Damselfly } from './support/damselfly.ts';
import { realTree } from './support/images.ts';
import { buildRafs, type RafsImage } from './support/nydus-image.ts';
import { nydusOciImage } from './support/nydus-snapshotter.ts';
import { unmountBelow } from './support/nydusd.ts';
import { pushBlob, pushImage } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { startService } from './support/service.ts';
import { estargzImage } from './support/stargz.ts';
import { compareTrees } from './support/tree-compare.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const skip = lacking('docker-registry', 'fuse', 'root');

// What setup writes is loaded by the real lazy client, whose reads then come through the node alone.
describe('reading lazily by what setup wrote', { skip }, () => {
  const shared = new Scope();
  let registry: Registry;
  let tree: string;

  before(async () => {
    registry = await startRegistry(shared);
    tree = await realTree(shared, '@biomejs');
  });
  after(() => shared.close());

  describe('RAFS', { skip: lacking('nydusd', 'nydus-image') }, () => {
    let image: RafsImage;
    before(async () => {
      image = await buildRafs(tree, await shared.folder('rafs'), 6);
      const { digest, file } = image.blob;
      await pushBlob({ registry, repository: 'lab/nydus' }, { digest, content: { file } });
    });

    for (const [form, version] of [
      ['mirrors', '2.2.0'],
      ['proxy', '2.4.4'],
    ] as const)
      it(`nydusd with ${form}, the form of ${version}`, async () => {
        await within(async (scope, node) => {
          const root = await scope.folder('root');
          const args = ['nydusd', '--registry', registry.host, '--client-version', version];
          await setUp(scope, root, node, args);
          const file = join(root, 'etc/nydus/nydusd-config.json');
          const text = await readFile(file, 'utf8');
          assert.ok(text.includes(`"${form}"`));
          // What a user puts in: the repository; and a folder of the test's own.
          const own = text
            .replace('REPOSITORY', 'lab/nydus')
            .replace('/var/lib/nydus/cache', await scope.folder('cache'));
          await writeFile(file, own);
          await expectThroughNode(node, image.blob.size, await mountedBy(scope, file));
        });
      });

    it('nydus-snapshotter with the template', {
      skip: lacking('containerd-2', 'ctr-2', 'containerd-nydus-grpc'),
    }, async () => {
      const oci = await nydusOciImage(shared, image);
      await pushImage({ registry, repository: 'lab/nydus' }, oci, 'v6');
      await within(async (scope, node) => {
        const folder = await scope.folder('snapshotter');
        const root = await scope.folder('root');
        await setUp(scope, root, node, ['nydus-snapshotter']);
        await setUp(scope, root, node, ['containerd', '--client-version', '2.4.2']);
        const socket = await startSnapshotter(
          scope,
          folder,
          join(root, 'etc/nydus/nydusd-config.fusedev.json'),
        );
        const at = await pulledAndMounted(scope, { name: 'nydus', socket, root, image: 'lab/nydus:v6' });
        await expectThroughNode(node, image.blob.size, at);
      });
    });

    async function mountedBy(scope: Scope, configFile: string): Promise<string> {
      const folder = await scope.folder('nydusd');
      const mountpoint = join(folder, 'mount');
      await mkdir(mountpoint);
      scope.defer(() => unmountBelow(mountpoint));
      const options = ['--apisock', join(folder, 'api.sock'), '--rlimit-nofile', '0'];
      await startService(scope, {
        name: 'nydusd',
        command: program('nydusd'),
        args: [
          '--config',
          configFile,
          '--mountpoint',
          mountpoint,
          '--bootstrap',
          image.bootstrapFile,
          ...options,
        ],
        logFile: join(folder, 'nydusd.log'),
        ready: async () => (await readFile('/proc/self/mounts', 'utf8')).includes(` ${mountpoint} `),
      });
      return mountpoint;
    }

    async function startSnapshotter(scope: Scope, folder: string, template: string): Promise<string> {
      const nydusd = join(folder, 'nydusd');
      const socket = join(folder, 'nydus.sock');
      const configFile = join(folder, 'config.toml');
      // Without that option nydusd dies where it may not raise its limit to a million files.
      await writeFile(nydusd, `#!/bin/sh\nexec "${program('nydusd')}" "$@" --rlimit-nofile 0\n`, {
        mode: 0o755,
      });
      const lines = [
        ...['version = 1', `root = "${join(folder, 'root')}"`, `address = "${socket}"`],
        ...['daemon_mode = "dedicated"', 'cleanup_on_close = true'],
        ...['[system]', 'enable = false', '[metrics]', 'address = ""', '[cgroup]', 'enable = false'],
        ...['[daemon]', `nydusd_config = "${template}"`, `nydusd_path = "${nydusd}"`],
        ...[
          `nydusimage_path = "${program('nydus-image')}"`,
          'fs_driver = "fusedev"',
          'recover_policy = "none"',
        ],
        ...['[log]', 'log_to_stdout = true', '[remote]', 'skip_ssl_verify = true'],
      ];
      await writeFile(configFile, `${lines.join('\n')}\n`);
      scope.defer(() => unmountBelow(folder));
      await startService(scope, {
        name: 'containerd-nydus-grpc',
        command: program('containerd-nydus-grpc'),
        args: ['--config', configFile],
        logFile: join(folder, 'snapshotter.log'),
        ready: () => isSocket(socket),
      });
      return socket;
    }
  });

  it('stargz-snapshotter with the mirror and its header', {
    skip: lacking('containerd-2', 'ctr-2', 'stargz', 'estargz'),
  }, async () => {
    const image = await estargzImage(shared, tree);
    await pushImage({ registry, repository: 'lab/estargz' }, image, 'v1');
    await within(async (scope, node) => {
      const folder = await scope.folder('stargz');
      const root = await scope.folder('root');
      await setUp(scope, root, node, ['stargz', '--registry', registry.host]);
      await setUp(scope, root, node, ['containerd', '--client-version', '2.4.2']);
      const written = await readFile(join(root, 'etc/containerd-stargz-grpc/config.toml'), 'utf8');
      const socket = join(folder, 'stargz.sock');
      const configFile = join(folder, 'config.json');
      // The program of these tests takes the same keys as JSON.
      const settings = { noprefetch: true, no_background_fetch: true, no_prometheus: true };
      await writeFile(configFile, JSON.stringify({ ...(parse(written) as object), ...settings }));
      scope.defer(() => unmountBelow(join(folder, 'root')));
      await startService(scope, {
        name: 'stargz-snapshotter',
        command: program('stargz'),
        args: [socket, join(folder, 'root'), configFile],
        logFile: join(folder, 'stargz.log'),
        ready: () => isSocket(socket),
      });
      const at = await pulledAndMounted(scope, { name: 'stargz', socket, root, image: 'lab/estargz:v1' });
      await expectThroughNode(node, image.blobBytes, at);
    });
  });

  let from = 0;

  async function within(work: (scope: Scope, node: Damselfly) => Promise<void>): Promise<void> {
    const scope = new Scope();
    try {
      const node = await Damselfly.start(scope, { origins: [registry.host] });
      from = (await registry.requests()).length;
      await work(scope, node);
    } finally {
      await scope.close();
    }
  }

  async function expectThroughNode(node: Damselfly, bytes: number, mountpoint: string): Promise<void> {
    const { bytes: read, differences } = await compareTrees(tree, mountpoint);
    assert.deepEqual(differences, []);
    assert.ok(read > 10e6, `only ${read} bytes`);
    assert.ok((await node.metric('damselfly_requested_bytes_total')) >= bytes * 0.9);
    const strangers = (await registry.requests())
      .slice(from)
      .filter(({ userAgent }) => !userAgent.startsWith('damselfly'));
    assert.deepEqual(strangers, [], 'a read went round the node');
  }

  interface Pull {
    readonly name: string;
    readonly socket: string;
    readonly root: string;
    readonly image: string;
  }

  async function pulledAndMounted(scope: Scope, { image, name, root, socket }: Pull): Promise<string> {
    const containerd = await startContainerd(scope, { version: 2, remoteSnapshotter: { name, socket } });
    await containerd.pull({
      reference: `${registry.host}/${image}`,
      hostsFolder: join(root, 'etc/containerd/certs.d'),
    });
    const [snapshot] = await containerd.snapshots();
    assert.ok(snapshot);
    return await containerd.mount(scope, snapshot, 'e2e');
  }

  async function setUp(scope: Scope, root: string, node: Damselfly, args: readonly string[]): Promise<void> {
    const config = join(await scope.folder('config'), 'damselfly.yaml');
    const origins = [{ host: registry.host, insecure: true }];
    await mkdir(dirname(config), { recursive: true });
    await writeFile(config, JSON.stringify({ proxy: { listen: node.host }, origins }));
    await command(process.execPath, [MAIN, 'setup', ...args, '-c', config, '--root', root, '--write']);
  }
});

async function isSocket(path: string): Promise<boolean> {
  return await stat(path).then(
    (stats) => stats.isSocket(),
    () => false,
  );
}
