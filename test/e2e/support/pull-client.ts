import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf } from '../../../src/blob/digest.ts';
import type { OciImage } from '../../support/oci.ts';
import { program } from './capabilities.ts';
import { type CommandResult, tryCommand } from './command.ts';
import type { Scope } from './scope.ts';

export interface ClientOptions {
  /** `name:password` for the registry that the reference names. */
  readonly login?: string | undefined;
  /** `http://host:port` of a forward proxy; Go's clients use none for loopback addresses. */
  readonly proxy?: string | undefined;
}

/** A command-line client (crane, oras) with a home of its own: nobody's logins, no cache, its own proxy. */
export class PullClient {
  readonly #name: 'crane' | 'oras';
  readonly #home: string;
  readonly #env: Record<string, string>;

  private constructor(name: 'crane' | 'oras', home: string, env: Record<string, string>) {
    this.#name = name;
    this.#home = home;
    this.#env = env;
  }

  /** @param registryHost `host[:port]` that references name. */
  static async create(
    scope: Scope,
    name: 'crane' | 'oras',
    registryHost: string,
    { login, proxy }: ClientOptions = {},
  ): Promise<PullClient> {
    const home = await scope.folder(name);
    const auths =
      login === undefined ? {} : { [registryHost]: { auth: Buffer.from(login).toString('base64') } };
    await writeFile(join(home, 'config.json'), JSON.stringify({ auths }));
    const none = {
      HTTP_PROXY: '',
      http_proxy: '',
      HTTPS_PROXY: '',
      https_proxy: '',
      NO_PROXY: '',
      no_proxy: '',
    };
    const env = {
      ...none,
      HOME: home,
      DOCKER_CONFIG: home,
      ...(proxy === undefined ? {} : { HTTP_PROXY: proxy }),
    };
    return new PullClient(name, home, env);
  }

  run(...args: string[]): Promise<CommandResult> {
    return tryCommand(program(this.#name), args, { timeoutMs: 120_000, env: this.#env, cwd: this.#home });
  }

  /** Pulls into an OCI layout of its own. @returns where. */
  async pull(reference: string): Promise<CommandResult & { readonly layout: string }> {
    const layout = join(this.#home, `layout-${Math.random().toString(36).slice(2)}`);
    await mkdir(layout);
    const result =
      this.#name === 'crane'
        ? await this.run('pull', '--insecure', '--format', 'oci', reference, layout)
        : await this.run('cp', '--no-tty', '--from-plain-http', reference, '--to-oci-layout', `${layout}:v1`);
    return { ...result, layout };
  }
}

/** Throws unless the layout holds the image: its manifests, configs and layers, each being what its digest says. */
export async function assertHolds(layout: string, image: OciImage): Promise<void> {
  const blobs = image.manifests.flatMap(({ descriptor, config, layers }) => [descriptor, config, ...layers]);
  for (const { digest } of [image.root, ...blobs]) {
    const bytes = await readFile(join(layout, 'blobs', 'sha256', digestHex(digest)));
    if (digestOf(bytes) !== digest) throw new Error(`${digest} in ${layout} is something else`);
  }
}
