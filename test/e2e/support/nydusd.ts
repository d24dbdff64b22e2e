import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { program } from './capabilities.ts';
import { tryCommand } from './command.ts';
import type { RafsImage } from './nydus-image.ts';
import type { Scope } from './scope.ts';
import { type Service, startService } from './service.ts';

/** How nydusd 2.2.0 is told of a P2P proxy: as a mirror of the registry, or as an HTTP forward proxy. */
export type NydusRoute =
  | { readonly kind: 'direct' }
  | {
      readonly kind: 'mirrors';
      readonly url: string;
      readonly pingUrl?: string;
      readonly registryHeader: string;
    }
  | { readonly kind: 'proxy'; readonly url: string; readonly pingUrl?: string };

export interface NydusBackend {
  readonly type: 'registry' | 'http-proxy';
  readonly config: Readonly<Record<string, unknown>>;
}

export interface NydusMountOptions {
  readonly image: RafsImage;
  /** `127.0.0.1:port` of the registry. */
  readonly registryHost: string;
  readonly repository: string;
  readonly route: NydusRoute;
  readonly prefetch: boolean;
  /** user and password of the registry. */
  readonly login?: { readonly user: string; readonly password: string };
  /** In place of the registry backend over plain http that the rest describes; in the format of version 2. */
  readonly backend?: NydusBackend;
}

export interface NydusMount {
  readonly mountpoint: string;
  readonly service: Service;
  /** Unmounts and ends nydusd. */
  unmount(): Promise<void>;
}

/** Mounts an image with a fresh cache folder. */
export async function mountNydus(scope: Scope, options: NydusMountOptions): Promise<NydusMount> {
  const folder = await scope.folder('nydusd');
  const mountpoint = join(folder, 'mount');
  const workFolder = join(folder, 'cache');
  const configFile = join(folder, 'config.json');
  await mkdir(mountpoint);
  await mkdir(workFolder);
  await writeFile(configFile, JSON.stringify(nydusdConfig(options, workFolder), null, 2));
  // Registered before the start, hence after nydusd's end: a dead FUSE mount would keep the folder from being removed.
  scope.defer(() => unmountPath(mountpoint));
  const service = await startService(scope, {
    name: 'nydusd',
    command: program('nydusd'),
    args: [
      ...['--config', configFile, '--mountpoint', mountpoint, '--bootstrap', options.image.bootstrapFile],
      // Without the last one nydusd dies where it may not raise its limit to a million files.
      ...['--apisock', join(folder, 'api.sock'), '--thread-num', '4', '--rlimit-nofile', '0'],
      ...['--log-level', 'info'],
    ],
    logFile: join(folder, 'nydusd.log'),
    ready: () => isMounted(mountpoint),
  });
  return {
    mountpoint,
    service,
    unmount: async () => {
      await unmountPath(mountpoint);
      await service.stop();
    },
  };
}

/** The configuration file of nydusd 2.2.0 for a registry over plain http. */
export function nydusdConfig(options: NydusMountOptions, workFolder: string): Record<string, unknown> {
  const { backend, login, prefetch, route } = options;
  if (backend !== undefined) return versionTwo(backend, workFolder);
  return {
    device: {
      backend: {
        type: 'registry',
        config: {
          scheme: 'http',
          host: options.registryHost,
          repo: options.repository,
          ...(login === undefined
            ? {}
            : { auth: Buffer.from(`${login.user}:${login.password}`).toString('base64') }),
          timeout: 5,
          connect_timeout: 5,
          retry_limit: 0,
          ...routeConfig(route),
        },
      },
      cache: { type: 'blobcache', config: { work_dir: workFolder } },
    },
    mode: 'direct',
    digest_validate: false,
    iostats_files: false,
    enable_xattr: true,
    amplify_io: 1048576,
    fs_prefetch: prefetch
      ? { enable: true, prefetch_all: true, threads_count: 8, merging_size: 1048576 }
      : { enable: false },
  };
}

/** Not every backend can be said in the older format. */
function versionTwo({ type, config }: NydusBackend, workFolder: string): Record<string, unknown> {
  return {
    version: 2,
    backend: { type, [type]: config },
    cache: { type: 'blobcache', filecache: { work_dir: workFolder } },
    rafs: { mode: 'direct', enable_xattr: true, prefetch: { enable: false } },
  };
}

function routeConfig(route: NydusRoute): Record<string, unknown> {
  if (route.kind === 'direct') return {};
  const ping = route.pingUrl === undefined ? {} : { ping_url: route.pingUrl };
  if (route.kind === 'proxy') {
    return { proxy: { url: route.url, ...ping, fallback: true, check_interval: 1, use_http: false } };
  }
  return {
    mirrors: [
      {
        host: route.url,
        ...ping,
        auth_through: true,
        headers: { 'X-Dragonfly-Registry': route.registryHeader },
        health_check_interval: 1,
        failure_limit: 5,
      },
    ],
  };
}

async function isMounted(path: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  return mounts.split('\n').some((line) => line.split(' ')[1] === path);
}

/** Unmounts whatever is mounted below a folder, the innermost first. */
export async function unmountBelow(folder: string): Promise<void> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  const paths = mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`));
  for (const path of paths.sort((a, b) => b.length - a.length)) await unmountPath(path);
}

async function unmountPath(path: string): Promise<void> {
  if (!(await isMounted(path))) return;
  const { exitCode } = await tryCommand('umount', [path], { timeoutMs: 10_000 });
  if (exitCode !== 0) await tryCommand('umount', ['-l', path], { timeoutMs: 10_000 });
}
