import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { type PushOptions, pushBlob, pushManifest } from './push.ts';

const gzipped = promisify(gzip);

export interface SampleImage {
  readonly digest: Digest;
  readonly layers: readonly Digest[];
  /** Bytes of config and layers together. */
  readonly blobBytes: number;
}

/** Makes an OCI image of layers of incompressible bytes and uploads it under a tag. */
export async function pushSampleImage(
  options: PushOptions & { readonly tag: string; readonly layerBytes: readonly number[] },
): Promise<SampleImage> {
  const diffIds: Digest[] = [];
  const layers: { mediaType: string; digest: Digest; size: number }[] = [];
  for (const [index, size] of options.layerBytes.entries()) {
    const archive = pack();
    archive.entry({ name: `layer-${index}/data.bin` }, randomBytes(size));
    archive.entry({ name: `layer-${index}/note.txt` }, `layer ${index}\n`);
    archive.finalize();
    const tar = await buffer(archive);
    diffIds.push(digestOf(tar));
    const bytes = await gzipped(tar, { level: 1 });
    const digest = digestOf(bytes);
    await pushBlob(options, { digest, content: bytes });
    layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: bytes.length });
  }
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: diffIds },
    }),
  );
  await pushBlob(options, { digest: digestOf(config), content: config });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: digestOf(config),
        size: config.length,
      },
      layers,
    }),
  );
  await pushManifest(options, { bytes: manifest, mediaType, reference: options.tag });
  return {
    digest: digestOf(manifest),
    layers: layers.map((layer) => layer.digest),
    blobBytes: config.length + layers.reduce((sum, layer) => sum + layer.size, 0),
  };
}
