import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../support/eventually.ts';
import { answers, freePort } from './net.ts';
import type { Scope } from './scope.ts';
import { type Service, startService } from './service.ts';

const MAIN = fileURLToPath(new URL('../../../src/main.ts', import.meta.url));

export interface DamselflyOptions {
  /** Registries on loopback that it may read over plain http. */
  readonly origins: readonly string[];
  /** Registries that clients know by a name: the name, with its port, and the URL that is meant by it. */
  readonly named?: Readonly<Record<string, string>>;
  /** Registries that it reads by https: their `host:port`, and the file of a certificate to trust. */
  readonly secure?: Readonly<Record<string, string>>;
  /** `host:port` of the default origin. */
  readonly defaultOrigin?: string;
  /** More of the configuration, section by section. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly env?: Readonly<Record<string, string>>;
}

/** A Damselfly process of its own, with ports and a cache folder that it keeps over restarts. */
export class Damselfly {
  readonly host: string;
  readonly adminHost: string;
  readonly metricsHost: string;
  readonly cacheFolder: string;
  readonly #scope: Scope;
  readonly #configFile: string;
  readonly #logFile: string;
  readonly #env: Readonly<Record<string, string>>;
  #service: Service | undefined;

  private constructor(
    scope: Scope,
    hosts: readonly [string, string, string],
    files: { readonly cache: string; readonly config: string; readonly log: string },
    env: Readonly<Record<string, string>>,
  ) {
    this.#scope = scope;
    [this.host, this.adminHost, this.metricsHost] = hosts;
    this.cacheFolder = files.cache;
    this.#configFile = files.config;
    this.#logFile = files.log;
    this.#env = env;
  }

  static async start(scope: Scope, options: DamselflyOptions): Promise<Damselfly> {
    const folder = await scope.folder('node');
    const [host, adminHost, metricsHost] = await Promise.all([loopback(), loopback(), loopback()]);
    const files = {
      cache: join(folder, 'cache'),
      config: join(folder, 'damselfly.yaml'),
      log: join(folder, 'damselfly.log'),
    };
    const { config = {} } = options;
    // JSON is YAML.
    await writeFile(
      files.config,
      JSON.stringify({
        ...config,
        proxy: {
          listen: host,
          ...(options.defaultOrigin === undefined
            ? {}
            : { defaultOrigin: `http://${options.defaultOrigin}` }),
          ...config.proxy,
        },
        origins: [
          ...options.origins.map((origin) => ({ host: origin, insecure: true })),
          ...Object.entries(options.named ?? {}).map(([host, url]) => ({ host, url })),
          ...Object.entries(options.secure ?? {}).map(([host, ca]) => ({ host, ca })),
        ],
        cache: { dir: files.cache, ...config.cache },
        admin: { listen: adminHost, ...config.admin },
        metrics: { listen: metricsHost, ...config.metrics },
      }),
    );
    const node = new Damselfly(scope, [host, adminHost, metricsHost], files, options.env ?? {});
    await node.start();
    return node;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  get pid(): number {
    if (this.#service === undefined) throw new Error('damselfly was not started');
    return this.#service.pid;
  }

  /** Starts it, again after a {@link kill}, with the same ports and cache folder. */
  async start(): Promise<void> {
    this.#service = await startService(this.#scope, {
      name: 'damselfly',
      command: process.execPath,
      args: ['--disable-warning=ExperimentalWarning', MAIN, 'serve', '-c', this.#configFile],
      env: this.#env,
      logFile: this.#logFile,
      ready: () => answers(`http://${this.adminHost}/healthy`),
      readyTimeoutMs: 30_000,
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#service?.kill();
  }

  async stop(): Promise<void> {
    await this.#service?.stop();
  }

  async log(): Promise<string> {
    return (await this.#service?.log()) ?? '';
  }

  /** The sum of a metric's series that have all these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const response = await fetch(`http://${this.metricsHost}/metrics`, {
      signal: AbortSignal.timeout(5_000),
    });
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    let found = false;
    let sum = 0;
    for (const line of (await response.text()).split('\n')) {
      const match = /^([A-Za-z_:][\w:]*)(\{.*\})? (\S+)$/.exec(line);
      if (match?.[1] !== name || !wanted.every((label) => match[2]?.includes(label))) continue;
      found = true;
      sum += Number(match[3]);
    }
    if (!found) throw new Error(`there is no metric ${name} with ${wanted.join(', ') || 'no labels'}`);
    return sum;
  }
}

async function loopback(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

/** Kills the node in mid-read, starts it again, sees that the client comes back to it, and kills it once more. */
export async function killAndRestart(node: Damselfly, blobBytes: number, over: AbortSignal): Promise<void> {
  for (const share of [0.2, 0.1]) {
    await eventually(
      async () => over.aborted || (await node.metric('damselfly_served_bytes_total')) >= blobBytes * share,
      { timeoutMs: 60_000, what: `the node sent ${share} of the blob` },
    );
    if (over.aborted) throw new Error('the read was over before the node had been killed twice');
    await node.kill();
    await node.start();
  }
}
