import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { OciImage } from '../support/oci.ts';
import { type Component, lacking, program } from './support/capabilities.ts';
import { command, tryCommand } from './support/command.ts';
import { startContainerd } from './support/containerd.ts';
import { Damselfly } from './support/damselfly.ts';
import { makeImage } from './support/images.ts';
import { freePort } from './support/net.ts';
import { pushImage } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const REPOSITORY = 'lab/img';

// What setup writes is loaded by the real client, which then pulls through the node, and past nothing else.
describe('pulling by what setup wrote', { skip: lacking('docker-registry') }, () => {
  const shared = new Scope();
  let registry: Registry;
  let image: OciImage;

  before(async () => {
    registry = await startRegistry(shared);
    image = await makeImage(shared, { bytes: 8 << 20, layers: 2 });
    await pushImage({ registry, repository: REPOSITORY }, image, 'v1');
  });
  after(() => shared.close());

  for (const [version, daemon, ctr] of [
    [1, 'containerd', 'ctr'],
    [2, 'containerd-2', 'ctr-2'],
  ] as const)
    it(`containerd ${version}: a registry by name, and every one by _default`, {
      skip: lacking(daemon, ctr, 'root'),
    }, async () => {
      await within(async (scope) => {
        const node = await Damselfly.start(scope, { origins: [registry.host] });
        const containerd = await startContainerd(scope, { version });
        for (const args of [['--registry', registry.host], []]) {
          const from = (await registry.requests()).length;
          const root = await scope.folder('root');
          await setUp(scope, root, node, ['containerd', ...args]);
          const reference = `${registry.host}/${REPOSITORY}:v1`;
          await containerd.pull({ reference, hostsFolder: join(root, 'etc/containerd/certs.d') });
          assert.equal(await containerd.digestOf(reference), image.root.digest);
          await expectOnlyTheNode(from);
          await containerd.forget();
        }
        assert.ok((await node.metric('damselfly_requested_bytes_total')) >= image.blobBytes);
      });
    });

  for (const [version, daemon] of [
    ['1.6', 'containerd'],
    ['2.4', 'containerd-2'],
  ] as const)
    it(`containerd ${version} takes its own default configuration with config_path in it`, {
      skip: lacking(daemon),
    }, async () => {
      await within(async (scope) => {
        const root = await scope.folder('root');
        const config = join(root, 'etc/containerd/config.toml');
        await mkdir(dirname(config), { recursive: true });
        const original = await command(program(daemon), ['config', 'default']);
        await writeFile(config, original);
        await setUp(scope, root, undefined, ['containerd', '--client-version', '1.6.20']);
        const dump = await command(program(daemon), ['--config', config, 'config', 'dump']);
        assert.match(dump, /config_path = ["']\/etc\/containerd\/certs\.d["']/);
        await setUp(scope, root, undefined, ['containerd'], '--undo');
        assert.equal(await readFile(config, 'utf8'), original);
      });
    });

  for (const client of ['skopeo', 'podman'] as const satisfies readonly Component[])
    it(`${client}: a registry by a listener of its own`, { skip: lacking(client) }, async () => {
      await within(async (scope) => {
        const listen = `127.0.0.1:${await freePort()}`;
        const proxy = { listeners: [{ listen, origin: `http://${registry.host}` }] };
        const node = await Damselfly.start(scope, { origins: [registry.host], config: { proxy } });
        const root = await scope.folder('root');
        await setUp(scope, root, node, ['podman', '--registry', registry.host], '--write', proxy);
        const conf = join(root, 'etc/containers/registries.conf.d/50-damselfly.conf');
        assert.ok((await readFile(conf, 'utf8')).includes(listen));
        const from = (await registry.requests()).length;
        const policy = join(root, 'policy.json');
        await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
        const reference = `${registry.host}/${REPOSITORY}:v1`;
        if (client === 'skopeo') {
          const target = join(await scope.folder('copy'), 'image');
          const options = ['--registries-conf', conf, '--policy', policy, '--tmpdir', root];
          const env = { HOME: root, XDG_RUNTIME_DIR: root };
          await succeeds(client, [...options, 'copy', `docker://${reference}`, `dir:${target}`], env);
        } else {
          const shown = await tryCommand(program(client), ['info', '--format', 'json'], {
            timeoutMs: 60_000,
            env: { CONTAINERS_REGISTRIES_CONF: conf, HOME: root },
          });
          assert.equal(shown.exitCode, 0, shown.stderr);
          const { registries } = JSON.parse(shown.stdout) as {
            registries: Record<string, { Mirrors?: { Location: string; Insecure: boolean }[] }>;
          };
          const mirrors = registries[registry.host]?.Mirrors?.map((mirror) => [
            mirror.Location,
            mirror.Insecure,
          ]);
          assert.deepEqual(mirrors, [[listen, true]]);
          return;
        }
        await expectOnlyTheNode(from);
        assert.ok((await node.metric('damselfly_requested_bytes_total')) >= image.blobBytes);
      });
    });

  async function succeeds(client: Component, args: string[], env: Record<string, string>): Promise<void> {
    const { exitCode, stderr } = await tryCommand(program(client), args, { timeoutMs: 120_000, env });
    assert.equal(exitCode, 0, stderr);
  }

  /** What the registry was asked since came from the node. */
  async function expectOnlyTheNode(from: number): Promise<void> {
    const requests = (await registry.requests()).slice(from);
    assert.deepEqual(
      requests.filter(({ userAgent }) => !userAgent.startsWith('damselfly')),
      [],
      'a request went round the node',
    );
  }

  /** Runs `setup` for a host below `root`. @param proxy more of the node's `proxy` section. */
  async function setUp(
    scope: Scope,
    root: string,
    node: Damselfly | undefined,
    args: readonly string[],
    action: '--write' | '--undo' = '--write',
    proxy: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    const config = join(await scope.folder('config'), 'damselfly.yaml');
    const listen = node?.host ?? '127.0.0.1:4001';
    const origins = [{ host: registry.host, insecure: true }];
    await writeFile(config, JSON.stringify({ proxy: { listen, ...proxy }, origins }));
    await command(process.execPath, [MAIN, 'setup', ...args, '-c', config, '--root', root, action]);
  }
});

async function within(work: (scope: Scope) => Promise<void>): Promise<void> {
  const scope = new Scope();
  try {
    await work(scope);
  } finally {
    await scope.close();
  }
}
