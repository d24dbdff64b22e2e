import { randomFillSync } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildImage, type OciImage, share } from '../../support/oci.ts';
import { makeTree } from '../../support/tree.ts';
import { command } from './command.ts';
import type { Scope } from './scope.ts';

const NODE_MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));
const RANDOM_CHUNK_BYTES = 4 << 20;

/** An image of a few layers made from a made-up tree of about so many bytes. */
export async function makeImage(
  scope: Scope,
  options: { readonly bytes: number; readonly layers: number; readonly seed?: string },
): Promise<OciImage> {
  const folder = await scope.folder('image');
  const tree = join(folder, 'tree');
  await makeTree(tree, {
    bytes: options.bytes,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
  });
  return await buildImage(join(folder, 'layout'), {
    layers: Array.from({ length: options.layers }, (_, index) => ({
      folder: tree,
      only: share(index, options.layers),
    })),
  });
}

/** An image of one layer that compresses to nothing less: random bytes, not packed. */
export async function oneLayerImage(scope: Scope, bytes: number): Promise<OciImage> {
  const folder = await scope.folder('image');
  const tree = join(folder, 'tree');
  await mkdir(tree);
  const file = await open(join(tree, 'random'), 'w');
  try {
    const chunk = Buffer.allocUnsafe(RANDOM_CHUNK_BYTES);
    for (let left = bytes; left > 0; left -= chunk.length) {
      await file.write(randomFillSync(chunk).subarray(0, left));
    }
  } finally {
    await file.close();
  }
  return await buildImage(join(folder, 'layout'), { layers: [{ folder: tree, compression: 'none' }] });
}

/**
 * A tree as images hold them: real software (the packages of node_modules, or one of them), and beside it a made-up
 * part with every kind of entry.
 * @returns the folder, about 300 MB for all packages.
 */
export async function realTree(scope: Scope, packageName = '.'): Promise<string> {
  const tree = join(await scope.folder('tree'), 'root');
  await makeTree(tree, { bytes: 4 << 20 });
  await command('cp', ['-a', '--reflink=auto', join(NODE_MODULES, packageName), join(tree, 'real')], {
    timeoutMs: 120_000,
  });
  return tree;
}
