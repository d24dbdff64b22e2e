import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { digestHex, digestOf } from '../../../src/blob/digest.ts';
import { finishImage, type LayerOfImage, type OciImage } from '../../support/oci.ts';
import { tarFolder } from '../../support/tar-folder.ts';
import { program } from './capabilities.ts';
import { command } from './command.ts';
import { unmountBelow } from './nydusd.ts';
import type { Scope } from './scope.ts';
import { type Service, startService } from './service.ts';

export interface StargzOptions {
  readonly registryHost: string;
  /** `host:port`; undefined reads from the registry itself. */
  readonly mirrorHost: string | undefined;
}

/** stargz-snapshotter without its background fetch: what is read from a mount is all that is fetched. */
export async function startStargz(
  scope: Scope,
  options: StargzOptions,
): Promise<{ readonly socket: string; readonly service: Service }> {
  const folder = await scope.folder('stargz');
  const root = join(folder, 'root');
  const socket = join(folder, 'stargz.sock');
  const configFile = join(folder, 'config.json');
  const mirrors = options.mirrorHost === undefined ? [] : [{ host: options.mirrorHost, insecure: true }];
  await writeFile(
    configFile,
    JSON.stringify({
      noprefetch: true,
      no_background_fetch: true,
      no_prometheus: true,
      resolver: { host: { [options.registryHost]: { mirrors } } },
    }),
  );
  // Registered before the start, hence after its end: what it left mounted would keep the folder from being removed.
  scope.defer(() => unmountBelow(root));
  const service = await startService(scope, {
    name: 'stargz-snapshotter',
    command: program('stargz'),
    args: [socket, root, configFile],
    logFile: join(folder, 'stargz.log'),
    ready: () =>
      stat(socket).then(
        (stats) => stats.isSocket(),
        () => false,
      ),
  });
  return { socket, service };
}

/** A tree as an image of one eStargz layer. */
export async function estargzImage(scope: Scope, tree: string): Promise<OciImage> {
  const layout = join(await scope.folder('estargz'), 'layout');
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const tar = await tarFolder(tree, blobs, { compression: 'none' });
  const packed = join(blobs, 'packed');
  const tocDigest = (await command(program('estargz'), [tar.file, packed])).trim();
  await rm(tar.file);
  const bytes = await readFile(packed);
  const digest = digestOf(bytes);
  await rename(packed, join(blobs, digestHex(digest)));
  const layer: LayerOfImage = {
    digest,
    size: bytes.length,
    // Of the archive as it is in the layer: with the table of contents at its end.
    diffId: digestOf(gunzipSync(bytes)),
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    annotations: { 'containerd.io/snapshot/stargz/toc.digest': tocDigest },
  };
  return await finishImage(layout, [layer], {});
}
