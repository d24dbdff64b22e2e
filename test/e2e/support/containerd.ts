import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Component, program } from './capabilities.ts';
import { type CommandResult, command, tryCommand } from './command.ts';
import type { Scope } from './scope.ts';
import { startService } from './service.ts';

export interface PullOptions {
  /** `host/repo:tag`. */
  readonly reference: string;
  /** A folder as {@link hostsFolder} makes it. */
  readonly hostsFolder: string;
  /** `user:password`. */
  readonly user?: string;
}

export interface ContainerdOptions {
  /** 1: Debian's 1.6. 2: the one of clients/list.txt. Default 1. */
  readonly version?: 1 | 2;
  /** Of containerd 2: each layer in chunks of so many bytes, several at once. Default off, as it is there. */
  readonly parallelFetchBytes?: number;
  /** Of containerd 2: a snapshotter of its own process, behind a socket, in place of the native one. */
  readonly remoteSnapshotter?: { readonly name: string; readonly socket: string };
}

/** A containerd with a root, a state folder and a socket of its own, without CRI. */
export class Containerd {
  readonly #ctr: string;
  readonly #socket: string;
  readonly #snapshotter: string;

  constructor(ctr: string, socket: string, snapshotter: string) {
    this.#ctr = ctr;
    this.#socket = socket;
    this.#snapshotter = snapshotter;
  }

  /** `ctr images pull` with unpacking; plain http comes from the hosts folder. */
  async tryPull(options: PullOptions): Promise<CommandResult> {
    return await this.#try([
      ...['images', 'pull', '--hosts-dir', options.hostsFolder, '--snapshotter', this.#snapshotter],
      ...(options.user === undefined ? [] : ['--user', options.user]),
      options.reference,
    ]);
  }

  async pull(options: PullOptions): Promise<void> {
    const { exitCode, stderr, stdout } = await this.tryPull(options);
    if (exitCode !== 0) throw new Error(`ctr images pull ${options.reference}: ${stderr}${stdout}`);
  }

  /** The digest under which an image was stored; undefined when there is no such image. */
  async digestOf(reference: string): Promise<string | undefined> {
    const list = await this.#run(['images', 'list', `name==${reference}`]);
    return list.match(/sha256:[0-9a-f]{64}/)?.[0];
  }

  /** Digests of everything in the content store. */
  async content(): Promise<string[]> {
    const list = await this.#run(['content', 'list', '--quiet']);
    return list.split('\n').filter((line) => line !== '');
  }

  /** The bytes of one blob of the content store, as a file. */
  async saveContent(digest: string, file: string): Promise<void> {
    await command('/bin/sh', [
      '-c',
      `"$0" --address "$1" content get "$2" > "$3"`,
      this.#ctr,
      this.#socket,
      digest,
      file,
    ]);
  }

  /** Forgets every image and all content, as a new node would have none. */
  async forget(): Promise<void> {
    const images = (await this.#run(['images', 'list', '--quiet'])).split('\n').filter((line) => line !== '');
    if (images.length > 0) await this.#run(['images', 'remove', '--sync', ...images]);
    for (const snapshot of await this.snapshots()) {
      await this.#run(['snapshots', '--snapshotter', this.#snapshotter, 'remove', snapshot]);
    }
    const content = await this.content();
    if (content.length > 0) await this.#run(['content', 'remove', ...content]);
  }

  /** Mounts a writable snapshot over an image that was pulled, as a container would get it; unmounted by the scope. */
  async mount(scope: Scope, parent: string, name: string): Promise<string> {
    const target = await scope.folder('mount');
    const args = ['snapshots', '--snapshotter', this.#snapshotter];
    const script = await this.#run([...args, 'prepare', '--target', target, name, parent]);
    scope.defer(async () => {
      await tryCommand('umount', [target]);
      await this.#try([...args, 'remove', name]);
    });
    // ctr prints the mount command.
    await command('/bin/sh', ['-e', '-c', script]);
    return target;
  }

  /** Names of the snapshots, children before their parents. */
  async snapshots(): Promise<string[]> {
    const list = await this.#run(['snapshots', '--snapshotter', this.#snapshotter, 'list']);
    const rows = list
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((row) => row[0] !== undefined && row[0] !== '');
    const parents = new Map(rows.map((row) => [row[0] ?? '', row.length > 2 ? (row[1] ?? '') : '']));
    const depth = (name: string): number => {
      const parent = parents.get(name);
      return parent === undefined || parent === '' ? 0 : 1 + depth(parent);
    };
    return [...parents.keys()].sort((a, b) => depth(b) - depth(a));
  }

  async #run(args: readonly string[]): Promise<string> {
    return await command(this.#ctr, ['--address', this.#socket, ...args], { timeoutMs: 120_000 });
  }

  async #try(args: readonly string[]): Promise<CommandResult> {
    return await tryCommand(this.#ctr, ['--address', this.#socket, ...args], { timeoutMs: 120_000 });
  }
}

export async function startContainerd(scope: Scope, options: ContainerdOptions = {}): Promise<Containerd> {
  const [daemon, ctr]: readonly [Component, Component] =
    options.version === 2 ? ['containerd-2', 'ctr-2'] : ['containerd', 'ctr'];
  const folder = await scope.folder('containerd');
  const socket = join(folder, 'containerd.sock');
  const configFile = join(folder, 'config.toml');
  await writeFile(configFile, containerdConfig(folder, socket, options));
  const containerd = new Containerd(program(ctr), socket, options.remoteSnapshotter?.name ?? 'native');
  await startService(scope, {
    name: 'containerd',
    command: program(daemon),
    args: ['--config', configFile],
    logFile: join(folder, 'containerd.log'),
    ready: async () =>
      (await tryCommand(program(ctr), ['--address', socket, 'version'], { timeoutMs: 10_000 })).exitCode ===
      0,
    readyTimeoutMs: 30_000,
  });
  return containerd;
}

/** What wants to write outside of the folder, or is not wanted. */
const DISABLED_PLUGINS = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.tracing',
  'io.containerd.nri.v1.nri',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.tracing.processor.v1.otlp',
];

function containerdConfig(folder: string, socket: string, options: ContainerdOptions): string {
  const { parallelFetchBytes, remoteSnapshotter } = options;
  const lines = [
    `version = ${options.version === 2 ? 3 : 2}`,
    `root = "${join(folder, 'root')}"`,
    `state = "${join(folder, 'state')}"`,
    'oom_score = 0',
    `disabled_plugins = ${JSON.stringify(DISABLED_PLUGINS)}`,
    '[grpc]',
    `address = "${socket}"`,
    '[ttrpc]',
    `address = "${socket}.ttrpc"`,
  ];
  if (options.version === 2) {
    lines.push('[plugins."io.containerd.transfer.v1.local"]', 'max_concurrent_downloads = 3');
    if (parallelFetchBytes !== undefined) lines.push(`concurrent_layer_fetch_buffer = ${parallelFetchBytes}`);
    lines.push(
      '[[plugins."io.containerd.transfer.v1.local".unpack_config]]',
      `platform = "linux/${process.arch === 'x64' ? 'amd64' : process.arch}"`,
      `snapshotter = "${remoteSnapshotter?.name ?? 'native'}"`,
    );
  }
  if (remoteSnapshotter !== undefined) {
    const { name, socket: address } = remoteSnapshotter;
    lines.push(
      `[proxy_plugins.${name}]`,
      'type = "snapshot"',
      `address = "${address}"`,
      `[proxy_plugins.${name}.exports]`,
      'enable_remote_snapshot_annotations = "true"',
    );
  }
  return `${lines.join('\n')}\n`;
}

/**
 * A `certs.d` folder that sends one registry's requests to a mirror first, or only to the registry itself.
 * @param registryHost `_default` for every registry.
 */
export async function hostsFolder(
  scope: Scope,
  registryHost: string,
  mirrorUrl: string | undefined,
): Promise<string> {
  const folder = await scope.folder('hosts');
  await mkdir(join(folder, registryHost));
  const lines = registryHost === '_default' ? [] : [`server = "http://${registryHost}"`, ''];
  if (mirrorUrl !== undefined)
    lines.push(`[host."${mirrorUrl}"]`, '  capabilities = ["pull", "resolve"]', '');
  await writeFile(join(folder, registryHost, 'hosts.toml'), lines.join('\n'));
  return folder;
}
