import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { parseAccessLog, type RegistryRequest } from './access-log.ts';
import { type Component, program } from './capabilities.ts';
import { answers, freePort } from './net.ts';
import type { Scope } from './scope.ts';
import { type Service, startService } from './service.ts';
import type { TokenServer } from './token-server.ts';

/** `alice`, whose password is {@link REGISTRY_PASSWORD}, with bcrypt at cost 4: known to these tests only. */
export const REGISTRY_USER = 'alice';
export const REGISTRY_PASSWORD = 'in-wonderland';
export const BASIC_AUTHORIZATION = `Basic ${Buffer.from(`${REGISTRY_USER}:${REGISTRY_PASSWORD}`).toString('base64')}`;
const HTPASSWD = 'alice:$2y$04$xtgPuphYwDmxoVyy2/./luxNonW4uJhEve5mBlADpCHNY3i9i8iN6\n';

export type RegistryAuth = 'anonymous' | 'htpasswd' | TokenServer;
/** The distribution project's registry: 2.8 is Debian's docker-registry, 3.1 the one of clients/list.txt. */
export type RegistryProgram = Extract<Component, 'docker-registry' | 'registry-3'>;

/** A registry on a loopback port with a folder of its own. */
export class Registry {
  readonly host: string;
  readonly #program: RegistryProgram;
  readonly #scope: Scope;
  readonly #configFile: string;
  readonly #logFile: string;
  #service: Service | undefined;
  #fences = 0;

  constructor(
    scope: Scope,
    host: string,
    files: { readonly program: RegistryProgram; readonly config: string; readonly log: string },
  ) {
    this.#scope = scope;
    this.host = host;
    this.#program = files.program;
    this.#configFile = files.config;
    this.#logFile = files.log;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  async start(): Promise<void> {
    this.#service = await startService(this.#scope, {
      name: this.#program,
      command: program(this.#program),
      args: ['serve', this.#configFile],
      logFile: this.#logFile,
      env: { OTEL_TRACES_EXPORTER: 'none' },
      ready: () => answers(`${this.url}/v2/`, [200, 401]),
    });
  }

  async stop(): Promise<void> {
    await this.#service?.stop();
  }

  /** Every finished request since the registry's first start, in the order in which they finished. */
  async requests(): Promise<RegistryRequest[]> {
    // A log line is written after its answer was sent: our own request, once logged, shows that the others are.
    this.#fences += 1;
    const fence = `/v2/?fence=${this.#fences}`;
    await fetch(`${this.url}${fence}`).then((response) => response.arrayBuffer());
    const requests = await eventually(
      async () => {
        const logged = parseAccessLog((await this.#service?.log()) ?? '');
        return logged.some((request) => request.path === fence) && logged;
      },
      { what: 'the registry writes its log' },
    );
    return requests.filter((request) => !request.path.startsWith('/v2/?fence='));
  }

  /** Body bytes of blobs that were read since {@link requests} had `from` entries. */
  async blobBytes(from = 0): Promise<number> {
    const requests = (await this.requests()).slice(from);
    return requests
      .filter(
        (request) => request.method === 'GET' && request.status < 300 && request.path.includes('/blobs/'),
      )
      .reduce((sum, request) => sum + request.bytes, 0);
  }
}

export async function startRegistry(
  scope: Scope,
  auth: RegistryAuth = 'anonymous',
  registryProgram: RegistryProgram = 'docker-registry',
  /** More of its `http` section. */
  http: Readonly<Record<string, unknown>> = {},
): Promise<Registry> {
  const folder = await scope.folder('registry');
  const host = `127.0.0.1:${await freePort()}`;
  const configFile = join(folder, 'config.json');
  const config = {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: { addr: host, secret: 'these tests', ...http },
    ...(await authConfig(folder, auth)),
  };
  // JSON is YAML.
  await writeFile(configFile, JSON.stringify(config, null, 2));
  const registry = new Registry(scope, host, {
    program: registryProgram,
    config: configFile,
    log: join(folder, 'registry.log'),
  });
  await registry.start();
  return registry;
}

async function authConfig(folder: string, auth: RegistryAuth): Promise<Record<string, unknown>> {
  if (auth === 'anonymous') return {};
  if (auth === 'htpasswd') {
    const path = join(folder, 'htpasswd');
    await writeFile(path, HTPASSWD);
    return { auth: { htpasswd: { realm: 'these tests', path } } };
  }
  return {
    auth: {
      token: {
        realm: auth.realm,
        service: auth.service,
        issuer: auth.issuer,
        rootcertbundle: auth.certificateFile,
      },
    },
  };
}
