import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestHex } from '../../../src/blob/digest.ts';
import { finishImage, type OciImage } from '../../support/oci.ts';
import { tarFolder } from '../../support/tar-folder.ts';
import { program } from './capabilities.ts';
import type { RafsImage } from './nydus-image.ts';
import { unmountBelow } from './nydusd.ts';
import type { Scope } from './scope.ts';
import { type Service, startService } from './service.ts';

/** How the nydusd processes that the snapshotter starts are told of a node. */
export type SnapshotterRoute =
  /** nydusd's `proxy`: forward-proxy form. */
  | { readonly kind: 'proxy'; readonly url: string }
  /** The snapshotter's `certs.d`: it puts the mirror into nydusd's configuration as if it were the registry. */
  | { readonly kind: 'mirror'; readonly hostsFolder: string };

export interface NydusSnapshotter {
  readonly socket: string;
  readonly service: Service;
}

/** nydus-snapshotter with a root of its own; it starts one nydusd for each image that is mounted. */
export async function startNydusSnapshotter(
  scope: Scope,
  route: SnapshotterRoute,
): Promise<NydusSnapshotter> {
  const folder = await scope.folder('snapshotter');
  const root = join(folder, 'root');
  const socket = join(folder, 'nydus.sock');
  const nydusd = join(folder, 'nydusd');
  // Without that option nydusd dies where it may not raise its limit to a million files.
  await writeFile(nydusd, `#!/bin/sh\nexec "${program('nydusd')}" "$@" --rlimit-nofile 0\n`, { mode: 0o755 });
  await writeFile(join(folder, 'nydusd.json'), JSON.stringify(nydusdTemplate(route), null, 2));
  await writeFile(
    join(folder, 'config.toml'),
    [
      'version = 1',
      `root = "${root}"`,
      `address = "${socket}"`,
      'daemon_mode = "dedicated"',
      'cleanup_on_close = true',
      '[system]',
      'enable = false',
      '[metrics]',
      'address = ""',
      '[cgroup]',
      'enable = false',
      '[daemon]',
      `nydusd_config = "${join(folder, 'nydusd.json')}"`,
      `nydusd_path = "${nydusd}"`,
      `nydusimage_path = "${program('nydus-image')}"`,
      'fs_driver = "fusedev"',
      'recover_policy = "none"',
      '[log]',
      'log_to_stdout = true',
      '[remote]',
      'skip_ssl_verify = true',
      ...(route.kind === 'mirror' ? ['[remote.mirrors_config]', `dir = "${route.hostsFolder}"`] : []),
      '',
    ].join('\n'),
  );
  // Registered before the start, hence after its end: what it left mounted would keep the folder from being removed.
  scope.defer(() => unmountBelow(root));
  const service = await startService(scope, {
    name: 'containerd-nydus-grpc',
    command: program('containerd-nydus-grpc'),
    args: ['--config', join(folder, 'config.toml')],
    logFile: join(folder, 'snapshotter.log'),
    ready: () =>
      stat(socket).then(
        (stats) => stats.isSocket(),
        () => false,
      ),
  });
  return { socket, service };
}

/** The snapshotter adds host, repository, login and folders for each image. */
function nydusdTemplate(route: SnapshotterRoute): Record<string, unknown> {
  const proxy =
    route.kind === 'proxy'
      ? { proxy: { url: route.url, ping_url: `${route.url}/ping`, fallback: true, check_interval: 1 } }
      : {};
  return {
    device: {
      backend: {
        type: 'registry',
        config: { scheme: 'http', timeout: 5, connect_timeout: 5, retry_limit: 2, ...proxy },
      },
      cache: { type: 'blobcache' },
    },
    mode: 'direct',
    digest_validate: false,
    enable_xattr: true,
    amplify_io: 1048576,
    fs_prefetch: { enable: false },
  };
}

/**
 * A RAFS image as registries hold it: the blob as one layer, the bootstrap packed as another.
 * @returns an OCI layout in a folder.
 */
export async function nydusOciImage(scope: Scope, rafs: RafsImage): Promise<OciImage> {
  const layout = join(await scope.folder('nydus-image'), 'layout');
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const digest = rafs.blob.digest as Digest;
  await copyFile(rafs.blob.file, join(blobs, digestHex(digest)));
  const bootstrap = join(await scope.folder('bootstrap'), 'tree');
  await mkdir(join(bootstrap, 'image'), { recursive: true });
  await copyFile(rafs.bootstrapFile, join(bootstrap, 'image', 'image.boot'));
  return await finishImage(
    layout,
    [
      {
        digest,
        size: rafs.blob.size,
        diffId: digest,
        mediaType: 'application/vnd.oci.image.layer.nydus.blob.v1',
        annotations: { 'containerd.io/snapshot/nydus-blob': 'true' },
      },
      {
        ...(await tarFolder(bootstrap, blobs)),
        annotations: {
          'containerd.io/snapshot/nydus-bootstrap': 'true',
          'containerd.io/snapshot/nydus-fs-version': String(rafs.version),
        },
      },
    ],
    {},
  );
}
