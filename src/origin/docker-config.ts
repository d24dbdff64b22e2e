import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { askHelper } from './credential-helper.ts';
import type { Login } from './login.ts';

const configShape = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
        registrytoken: z.string().optional(),
      }),
    )
    .optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});

type Config = z.output<typeof configShape>;
type Entry = NonNullable<Config['auths']>[string];

/** Docker Hub's login goes by its first registry's address. */
const DOCKER_HUB = 'registry-1.docker.io';
const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';
const DOCKER_HUB_NAMES: ReadonlySet<string> = new Set([DOCKER_HUB, 'index.docker.io', 'docker.io']);

/** A docker config.json (also a Kubernetes `.dockerconfigjson`), read again when the file changes. */
export class DockerConfig {
  readonly #path: string;
  readonly #onTrouble: (message: string) => void;
  #loaded: { readonly stamp: string; readonly config: Config } | undefined;

  /** @param onTrouble told what is wrong with the file or a helper, without a secret. */
  constructor(path: string, onTrouble: (message: string) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  /**
   * The login for a registry: its own helper's, the store's, else the file's.
   * @param host `host` or `host:port`.
   * @returns null when there is none, or the file cannot be used.
   */
  async loginFor(host: string, signal: AbortSignal): Promise<Login | null> {
    const config = await this.#load();
    if (config === null) return null;
    const wanted = serverKey(host);
    const server = wanted === DOCKER_HUB ? DOCKER_HUB_SERVER : host;
    const own = Object.entries(config.credHelpers ?? {}).find(([key]) => serverKey(key) === wanted)?.[1];
    const helper = own ?? config.credsStore;
    if (helper !== undefined && helper !== '') {
      const login = await askHelper(helper, server, signal).catch((error: Error) => {
        signal.throwIfAborted();
        this.#onTrouble(`docker-credential-${helper}: ${error.message}`);
        return null;
      });
      if (login !== null) return login;
    }
    const entry = Object.entries(config.auths ?? {}).find(([key]) => serverKey(key) === wanted)?.[1];
    return entry === undefined ? null : loginOf(entry);
  }

  async #load(): Promise<Config | null> {
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const stamp = `${ino} ${size} ${mtimeMs}`;
      if (this.#loaded?.stamp !== stamp) {
        this.#loaded = { stamp, config: configShape.parse(JSON.parse(await readFile(this.#path, 'utf8'))) };
      }
      return this.#loaded.config;
    } catch (error) {
      // Neither the parser's nor the schema's text may be shown: both quote what they read.
      const code = (error as NodeJS.ErrnoException).code;
      this.#onTrouble(`${this.#path}: ${code ?? 'it is no docker config.json'}`);
      return null;
    }
  }
}

/** Docker writes `host`, `host:port`, `https://host` and `https://host/v1/` for the same registry. */
function serverKey(text: string): string {
  const host = text
    .replace(/^https?:\/\//i, '')
    .replace(/\/.*$/s, '')
    .replace(/:443$/, '')
    .toLowerCase();
  return DOCKER_HUB_NAMES.has(host) ? DOCKER_HUB : host;
}

function loginOf(entry: Entry): Login | null {
  if (entry.registrytoken) return { kind: 'bearer', token: entry.registrytoken };
  if (entry.identitytoken) return { kind: 'identity', token: entry.identitytoken };
  const decoded = Buffer.from(entry.auth ?? '', 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  const user = colon > 0 ? decoded.slice(0, colon) : entry.username;
  // Docker pads old passwords with NUL.
  const password = colon > 0 ? decoded.slice(colon + 1).replace(/\0+$/, '') : entry.password;
  return user && password !== undefined ? { kind: 'password', user, password } : null;
}
