import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { program } from './capabilities.ts';
import { type CommandResult, tryCommand } from './command.ts';
import { type ContainersConf, containersConf, type MirroredRegistry } from './containers-conf.ts';
import type { Scope } from './scope.ts';

/** podman with a storage of its own, on plain files: nothing is mounted and no service runs. */
export class Podman {
  readonly #conf: ContainersConf;
  readonly #runRoot: string;

  private constructor(conf: ContainersConf, runRoot: string) {
    this.#conf = conf;
    this.#runRoot = runRoot;
  }

  static async create(
    scope: Scope,
    registries: readonly MirroredRegistry[],
    login?: string,
  ): Promise<Podman> {
    // It takes no path of more than 50 characters here, and temporary folders of tests lie deeper.
    const runRoot = await mkdtemp('/tmp/damselfly-podman-');
    scope.defer(() => rm(runRoot, { recursive: true, force: true }));
    const podman = new Podman(await containersConf(scope, registries, login), runRoot);
    // Its storage has folders that only its own clean-up is sure to be allowed to remove.
    scope.defer(() => podman.run('rmi', '--all', '--force'));
    return podman;
  }

  pull(reference: string): Promise<CommandResult> {
    const { authFile, policy } = this.#conf;
    return this.run('pull', '--quiet', '--authfile', authFile, '--signature-policy', policy, reference);
  }

  /** Of the manifest as podman keeps it. */
  async digest(reference: string): Promise<string> {
    return (await this.run('image', 'inspect', '--format', '{{.Digest}}', reference)).stdout.trim();
  }

  run(...args: string[]): Promise<CommandResult> {
    const { folder, registriesConf } = this.#conf;
    const storage = [
      ...['--root', join(folder, 'root'), '--runroot', this.#runRoot, '--tmpdir', join(folder, 'tmp')],
      ...['--storage-driver', 'vfs', '--events-backend', 'none', '--cgroup-manager', 'cgroupfs'],
    ];
    return tryCommand(program('podman'), [...storage, ...args], {
      timeoutMs: 120_000,
      env: { CONTAINERS_REGISTRIES_CONF: registriesConf, HOME: folder, TMPDIR: folder },
    });
  }
}
