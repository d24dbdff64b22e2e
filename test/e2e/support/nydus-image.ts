import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { program } from './capabilities.ts';
import { command } from './command.ts';

export type RafsVersion = 5 | 6;

/** A directory tree packed for lazy loading: the blob lives in a registry, the bootstrap where it is mounted. */
export interface RafsImage {
  readonly version: RafsVersion;
  readonly bootstrapFile: string;
  readonly blob: { readonly digest: string; readonly size: number; readonly file: string };
}

/** Packs `tree` with nydus-image into `folder`. */
export async function buildRafs(tree: string, folder: string, version: RafsVersion): Promise<RafsImage> {
  const bootstrapFile = join(folder, `v${version}.boot`);
  const blobFolder = join(folder, `v${version}-blobs`);
  await mkdir(blobFolder, { recursive: true });
  await command(
    program('nydus-image'),
    [
      ...['create', '--type', 'directory', '--fs-version', String(version), '--compressor', 'zstd'],
      ...[
        '--bootstrap',
        bootstrapFile,
        '--blob-dir',
        blobFolder,
        '--output-json',
        join(folder, `v${version}.json`),
      ],
      tree,
    ],
    { timeoutMs: 180_000, cwd: folder },
  );
  const names = await readdir(blobFolder);
  const [name, ...more] = names;
  if (name === undefined || more.length > 0) throw new Error(`nydus-image made ${names.length} blobs, not 1`);
  const file = join(blobFolder, name);
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const hex = hash.digest('hex');
  if (hex !== name) throw new Error(`the blob of nydus-image is named ${name} and hashes to ${hex}`);
  return { version, bootstrapFile, blob: { digest: `sha256:${hex}`, size: (await stat(file)).size, file } };
}
