import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { answers, freePort } from '../../e2e/support/net.ts';
import type { Scope } from '../../e2e/support/scope.ts';
import { type Service, startService } from '../../e2e/support/service.ts';
import { command } from '../programs.ts';
import type { RestartableRival } from './rival.ts';

export interface DockerRegistryOptions {
  /** A pull-through cache of this registry; undefined: a registry of its own. */
  readonly upstream?: string;
  /** What it holds from the start. */
  readonly blobs?: readonly { readonly repository: string; readonly digest: string; readonly file: string }[];
}

/** Debian's docker-registry (distribution 2.8) on the filesystem driver, without an access log. */
export class DockerRegistry implements RestartableRival {
  readonly name: string;
  readonly url: string;
  readonly #scope: Scope;
  readonly #folder: string;
  #service: Service | undefined;

  private constructor(scope: Scope, folder: string, name: string, host: string) {
    this.#scope = scope;
    this.#folder = folder;
    this.name = name;
    this.url = `http://${host}`;
  }

  static async start(scope: Scope, options: DockerRegistryOptions): Promise<DockerRegistry> {
    const folder = await scope.folder('registry');
    const host = `127.0.0.1:${await freePort()}`;
    const root = join(folder, 'data');
    for (const blob of options.blobs ?? []) await place(root, blob);
    const config = {
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: root }, cache: { blobdescriptor: 'inmemory' } },
      http: { addr: host, secret: 'this bench' },
      ...(options.upstream === undefined ? {} : { proxy: { remoteurl: options.upstream } }),
    };
    // JSON is YAML.
    await writeFile(join(folder, 'config.json'), JSON.stringify(config, null, 2));
    const name = options.upstream === undefined ? 'docker-registry' : 'docker-registry proxy';
    const registry = new DockerRegistry(scope, folder, name, host);
    await registry.start();
    return registry;
  }

  get pid(): number {
    if (this.#service === undefined) throw new Error('docker-registry was not started');
    return this.#service.pid;
  }

  async start(): Promise<void> {
    this.#service = await startService(this.#scope, {
      name: 'docker-registry',
      command: command('docker-registry'),
      args: ['serve', join(this.#folder, 'config.json')],
      logFile: join(this.#folder, 'registry.log'),
      env: { OTEL_TRACES_EXPORTER: 'none' },
      ready: () => answers(`${this.url}/v2/`),
    });
  }

  async stop(): Promise<void> {
    await this.#service?.stop();
  }

  async kill(): Promise<void> {
    await this.#service?.kill();
  }
}

/** Puts a blob where a push would have: its data, and the link that says which repository has it. */
async function place(
  root: string,
  blob: { readonly repository: string; readonly digest: string; readonly file: string },
): Promise<void> {
  const hex = blob.digest.slice('sha256:'.length);
  const registry = join(root, 'docker/registry/v2');
  const data = join(registry, 'blobs/sha256', hex.slice(0, 2), hex, 'data');
  const link = join(registry, 'repositories', blob.repository, '_layers/sha256', hex, 'link');
  for (const path of [data, link]) await mkdir(dirname(path), { recursive: true });
  await cp(blob.file, data);
  await writeFile(link, blob.digest);
}
