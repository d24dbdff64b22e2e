import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestHex, digestOf } from '../../src/blob/digest.ts';
import { fileContent } from './origin/content.ts';
import { OCI_INDEX, OCI_MANIFEST, type Repository } from './origin/repository.ts';
import { type Compression, type LayerFile, tarFolder } from './tar-folder.ts';

export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ImageManifest {
  readonly descriptor: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** An image as an OCI layout in a folder. */
export interface OciImage {
  readonly layout: string;
  /** What a tag of this image points at: the index, or the one manifest. */
  readonly root: Descriptor;
  /** One per platform. */
  readonly manifests: readonly [ImageManifest, ...ImageManifest[]];
  /** Bytes of configs and layers, each blob once. */
  readonly blobBytes: number;
}

export interface LayerSource {
  readonly folder: string;
  /** Default gzip. */
  readonly compression?: Compression;
  readonly only?: (path: string) => boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A layer whose blob lies in the layout already. */
export type LayerOfImage = Omit<LayerFile, 'file'> & Pick<LayerSource, 'annotations'>;

export interface ImageOptions {
  readonly layers: readonly LayerSource[];
  /** Default this machine's Linux platform alone. Platforms share their layers and differ in their configs. */
  readonly platforms?: readonly [string, ...string[]];
  /** An index even for one platform; default only for several. */
  readonly index?: boolean;
}

const HERE = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;

/** What layer `index` takes when the second level of a folder is dealt out to `count` layers; the first is in all. */
export function share(index: number, count: number): (path: string) => boolean {
  const sum = (name: string) =>
    [...Buffer.from(name)].reduce((total, byte) => (total * 31 + byte) % 65_521, 7);
  return (path) => sum(path.split('/').slice(0, 2).join('/')) % count === index || !path.includes('/');
}

/** Packs folders into an image, written as an OCI layout into `layout` (made here). The same trees give the same digests. */
export async function buildImage(layout: string, options: ImageOptions): Promise<OciImage> {
  const blobs = join(layout, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const layers: LayerOfImage[] = [];
  for (const { folder, annotations, ...source } of options.layers) {
    layers.push({ ...(await tarFolder(folder, blobs, source)), ...(annotations && { annotations }) });
  }
  return finishImage(layout, layers, options);
}

/** Writes configs, manifests and index round layers that lie in the layout already. */
export async function finishImage(
  layout: string,
  layers: readonly LayerOfImage[],
  options: Pick<ImageOptions, 'platforms' | 'index'>,
): Promise<OciImage> {
  const put = async (mediaType: string, value: unknown): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    await writeFile(join(layout, 'blobs', 'sha256', digestHex(digest)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const layerDescriptors = layers.map(({ mediaType, digest, size, annotations }) => ({
    mediaType,
    digest,
    size,
    ...(annotations && { annotations }),
  }));
  const manifestOf = async (platform: string): Promise<ImageManifest> => {
    const [os = 'linux', architecture = 'amd64'] = platform.split('/');
    const config = await put(OCI_CONFIG, {
      created: '2023-11-14T22:13:20Z',
      architecture,
      os,
      config: { Env: ['PATH=/usr/bin:/bin'], Cmd: ['/bin/sh'] },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    });
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: layerDescriptors };
    const descriptor = await put(OCI_MANIFEST, manifest);
    return {
      descriptor: { ...descriptor, platform: { os, architecture } },
      config,
      layers: layerDescriptors,
    };
  };
  const [first, ...others] = options.platforms ?? [HERE];
  const manifests: [ImageManifest, ...ImageManifest[]] = [await manifestOf(first ?? HERE)];
  for (const platform of others) manifests.push(await manifestOf(platform));
  const descriptors = manifests.map((manifest) => manifest.descriptor);
  const isIndex = options.index ?? manifests.length > 1;
  const root = isIndex
    ? await put(OCI_INDEX, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: descriptors })
    : manifests[0].descriptor;
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [root] }),
  );
  return { layout, root, manifests, blobBytes: blobBytes(manifests) };
}

/** Reads a layout that {@link buildImage} wrote. */
export async function readImage(layout: string): Promise<OciImage> {
  const json = async <T>(path: string): Promise<T> => JSON.parse(await readFile(path, 'utf8')) as T;
  const read = <T>({ digest }: Descriptor) => json<T>(join(layout, 'blobs', 'sha256', digestHex(digest)));
  const { manifests: roots } = await json<{ manifests: Descriptor[] }>(join(layout, 'index.json'));
  const [root] = roots;
  if (root === undefined) throw new Error(`no image in the layout ${layout}`);
  const entries =
    root.mediaType === OCI_INDEX ? (await read<{ manifests: Descriptor[] }>(root)).manifests : [root];
  const [first, ...others] = await Promise.all(
    entries.map(async (descriptor) => {
      const { config, layers } = await read<Pick<ImageManifest, 'config' | 'layers'>>(descriptor);
      return { descriptor, config, layers };
    }),
  );
  if (first === undefined) throw new Error(`an empty index in the layout ${layout}`);
  return { layout, root, manifests: [first, ...others], blobBytes: blobBytes([first, ...others]) };
}

/** Bytes of configs and layers, each blob once. */
function blobBytes(manifests: readonly ImageManifest[]): number {
  const blobs = manifests.flatMap(({ config, layers }) => [config, ...layers]);
  const sizes = new Map(blobs.map(({ digest, size }) => [digest, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** Puts an image into a repository of a test origin; the blobs stay in the layout's files, which must live as long. */
export async function addImage(repository: Repository, image: OciImage, tag: string): Promise<void> {
  const fileOf = ({ digest }: Descriptor) => join(image.layout, 'blobs', 'sha256', digestHex(digest));
  for (const { descriptor, config, layers } of image.manifests) {
    for (const blob of [config, ...layers]) repository.addContent(fileContent(fileOf(blob), blob.digest));
    repository.addManifest(await readFile(fileOf(descriptor)), { mediaType: descriptor.mediaType });
  }
  repository.addManifest(await readFile(fileOf(image.root)), { mediaType: image.root.mediaType, tag });
}
