import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildImage, type OciImage, share } from '../support/oci.ts';
import { type OriginProcess, startOriginProcess } from '../support/origin-process.ts';
import { buildRafs, hasNydusImage, rafsToImage } from '../support/rafs.ts';
import { makeTree } from '../support/tree.ts';
import type { Account } from './client.ts';
import { type CopiedTree, copyTree } from './copy-tree.ts';

/** The line between node and registry: a capped bandwidth for all together, and a round trip for each request. */
export const ORIGIN_BYTES_PER_SECOND = 16 << 20;
export const ORIGIN_ROUND_TRIP_MS = 15;
export const ACCOUNT: Account = { name: 'demo', password: 'demo' };

const TREE_BYTES = 40 << 20;
const OTHER_TREE_BYTES = 12 << 20;
const SOURCE = fileURLToPath(new URL('../../node_modules', import.meta.url));

/** A registry with three images in it, all made on the spot. */
export interface Scene {
  readonly source: string;
  readonly tree: CopiedTree;
  readonly image: OciImage;
  readonly other: OciImage;
  /** The blob to read lazily: of a RAFS image where nydus-image is at hand, else the biggest layer of `other`. */
  readonly lazy: {
    readonly repository: string;
    readonly digest: string;
    readonly size: number;
    readonly file: string;
  };
  readonly isRafs: boolean;
  readonly origin: OriginProcess;
}

export const REPOSITORIES = { app: 'demo/app', other: 'demo/other', lazy: 'demo/lazy' } as const;

export async function setScene(folder: string, signal: AbortSignal): Promise<Scene> {
  const treeFolder = join(folder, 'tree');
  const tree = await copyTree(SOURCE, treeFolder, { maxBytes: TREE_BYTES, signal });
  const image = await buildImage(join(folder, 'image'), {
    layers: [0, 1, 2].map((index) => ({ folder: treeFolder, only: share(index, 3) })),
  });
  signal.throwIfAborted();
  const otherFolder = join(folder, 'other-tree');
  await makeTree(otherFolder, { seed: 'demo', bytes: OTHER_TREE_BYTES });
  const other = await buildImage(join(folder, 'other'), { layers: [{ folder: otherFolder }] });
  signal.throwIfAborted();
  const isRafs = hasNydusImage();
  const lazyImage = isRafs
    ? await rafsToImage(join(folder, 'rafs'), await buildRafs(treeFolder, folder, 6))
    : await buildImage(join(folder, 'plain'), { layers: [{ folder: treeFolder, compression: 'none' }] });
  const [blob] = lazyImage.manifests[0].layers;
  if (blob === undefined) throw new Error('an image without a layer');
  signal.throwIfAborted();
  const repository = (layout: OciImage) => ({ readers: [ACCOUNT.name], layouts: { v1: layout.layout } });
  const origin = await startOriginProcess({
    auth: 'token',
    users: { [ACCOUNT.name]: ACCOUNT.password },
    service: 'demo-registry',
    bytesPerSecond: ORIGIN_BYTES_PER_SECOND,
    repositories: {
      [REPOSITORIES.app]: repository(image),
      [REPOSITORIES.other]: repository(other),
      [REPOSITORIES.lazy]: repository(lazyImage),
    },
  });
  await origin.fault({ action: { delayHeadMs: ORIGIN_ROUND_TRIP_MS } });
  const file = join(lazyImage.layout, 'blobs', 'sha256', blob.digest.slice('sha256:'.length));
  const lazy = { repository: REPOSITORIES.lazy, digest: blob.digest, size: blob.size, file };
  return { source: SOURCE, tree, image, other, lazy, isRafs, origin };
}
