import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { program } from './capabilities.ts';
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

/** A containerd with a root, a state folder and a socket of its own, without CRI. */
export class Containerd {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** `ctr images pull` with unpacking; plain http comes from the hosts folder. */
  async tryPull(options: PullOptions): Promise<CommandResult> {
    return await this.#try([
      ...['images', 'pull', '--hosts-dir', options.hostsFolder, '--snapshotter', 'native'],
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
      program('ctr'),
      this.#socket,
      digest,
      file,
    ]);
  }

  /** Forgets every image and all content, as a new node would have none. */
  async forget(): Promise<void> {
    const images = (await this.#run(['images', 'list', '--quiet'])).split('\n').filter((line) => line !== '');
    if (images.length > 0) await this.#run(['images', 'remove', '--sync', ...images]);
    for (const snapshot of await this.#snapshots()) {
      await this.#run(['snapshots', '--snapshotter', 'native', 'remove', snapshot]);
    }
    const content = await this.content();
    if (content.length > 0) await this.#run(['content', 'remove', ...content]);
  }

  /** Names of the native snapshots, children before their parents. */
  async #snapshots(): Promise<string[]> {
    const list = await this.#run(['snapshots', '--snapshotter', 'native', 'list']);
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
    return await command(program('ctr'), ['--address', this.#socket, ...args], { timeoutMs: 120_000 });
  }

  async #try(args: readonly string[]): Promise<CommandResult> {
    return await tryCommand(program('ctr'), ['--address', this.#socket, ...args], { timeoutMs: 120_000 });
  }
}

export async function startContainerd(scope: Scope): Promise<Containerd> {
  const folder = await scope.folder('containerd');
  const socket = join(folder, 'containerd.sock');
  const configFile = join(folder, 'config.toml');
  await writeFile(
    configFile,
    [
      'version = 2',
      `root = "${join(folder, 'root')}"`,
      `state = "${join(folder, 'state')}"`,
      'oom_score = 0',
      'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]',
      '[grpc]',
      `  address = "${socket}"`,
      '[ttrpc]',
      `  address = "${socket}.ttrpc"`,
      '',
    ].join('\n'),
  );
  const containerd = new Containerd(socket);
  await startService(scope, {
    name: 'containerd',
    command: program('containerd'),
    args: ['--config', configFile],
    logFile: join(folder, 'containerd.log'),
    ready: async () =>
      (await tryCommand(program('ctr'), ['--address', socket, 'version'], { timeoutMs: 10_000 })).exitCode ===
      0,
    readyTimeoutMs: 30_000,
  });
  return containerd;
}

/** A `certs.d` folder that sends one registry's requests to a mirror first, or only to the registry itself. */
export async function hostsFolder(
  scope: Scope,
  registryHost: string,
  mirrorUrl: string | undefined,
): Promise<string> {
  const folder = await scope.folder('hosts');
  await mkdir(join(folder, registryHost));
  const lines = [`server = "http://${registryHost}"`, ''];
  if (mirrorUrl !== undefined)
    lines.push(`[host."${mirrorUrl}"]`, '  capabilities = ["pull", "resolve"]', '');
  await writeFile(join(folder, registryHost, 'hosts.toml'), lines.join('\n'));
  return folder;
}
