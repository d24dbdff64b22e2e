import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestHex } from '../../src/blob/digest.ts';
import { findProgram } from '../e2e/support/capabilities.ts';
import { buildRafs, type RafsImage, type RafsVersion } from '../e2e/support/nydus-image.ts';
import { finishImage, type LayerOfImage, type OciImage } from './oci.ts';
import { fileContent } from './origin/content.ts';
import type { Repository, TestBlob } from './origin/repository.ts';
import { tarFolder } from './tar-folder.ts';
import { TempFolder } from './temp-folder.ts';

export { buildRafs, type RafsImage, type RafsVersion };

/** Whether {@link buildRafs} can work here. */
export function hasNydusImage(): boolean {
  return findProgram('nydus-image') !== undefined;
}

/** Puts the data blob alone into a repository, which is all that nydusd asks a registry for. */
export function addRafsBlob(repository: Repository, rafs: RafsImage): TestBlob {
  return repository.addContent(fileContent(rafs.blob.file, rafs.blob.digest as Digest));
}

/**
 * The OCI image round a RAFS tree, as snapshotters pull it: the data blob as a layer that they skip, and a layer with
 * the bootstrap in it.
 */
export async function rafsToImage(layout: string, rafs: RafsImage): Promise<OciImage> {
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const digest = rafs.blob.digest as Digest;
  await copyFile(rafs.blob.file, join(blobs, digestHex(digest)));
  await using folder = await TempFolder.make();
  await mkdir(folder.file('image'));
  await copyFile(rafs.bootstrapFile, folder.file('image', 'image.boot'));
  const bootstrap = await tarFolder(folder.path, blobs);
  const layers: LayerOfImage[] = [
    {
      digest,
      size: rafs.blob.size,
      diffId: digest,
      mediaType: 'application/vnd.oci.image.layer.nydus.blob.v1',
      annotations: { 'containerd.io/snapshot/nydus-blob': 'true' },
    },
    {
      ...bootstrap,
      annotations: {
        'containerd.io/snapshot/nydus-bootstrap': 'true',
        'containerd.io/snapshot/nydus-fs-version': String(rafs.version),
      },
    },
  ];
  return finishImage(layout, layers, {});
}
