import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, readdir, readlink, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';
import { pack } from 'tar-stream';
import { type Digest, digestHex } from '../../src/blob/digest.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

export interface LayerFile {
  /** Of the bytes as stored. */
  readonly digest: Digest;
  readonly size: number;
  /** Of the uncompressed archive. */
  readonly diffId: Digest;
  readonly mediaType: string;
  readonly file: string;
}

const MEDIA_TYPES: Readonly<Record<Compression, string>> = {
  none: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
};

/**
 * Packs a folder into a layer, the same bytes for the same tree: sorted, owned by root, times in whole seconds.
 * @param into folder that gets the file, named by its digest's hex.
 * @param only takes the path inside the folder, without a leading slash; a folder that it refuses is left out whole.
 */
export async function tarFolder(
  folder: string,
  into: string,
  options: { readonly compression?: Compression; readonly only?: (path: string) => boolean } = {},
): Promise<LayerFile> {
  const { compression = 'gzip', only = () => true } = options;
  const archive = pack();
  const tarHash = createHash('sha256');
  const hash = createHash('sha256');
  const unfinished = join(into, `.layer-${process.pid}-${performance.now()}`);
  let size = 0;
  const stages = [
    archive,
    tap((chunk) => tarHash.update(chunk)),
    ...(compression === 'gzip'
      ? [createGzip({ level: 1 })]
      : compression === 'zstd'
        ? [createZstdCompress()]
        : []),
    tap((chunk) => {
      hash.update(chunk);
      size += chunk.length;
    }),
    createWriteStream(unfinished),
  ] as unknown as NodeJS.ReadWriteStream[];
  const fill = async () => {
    try {
      await addEntries(archive, folder, only);
      archive.finalize();
    } catch (error) {
      archive.destroy(error as Error);
    }
  };
  try {
    await Promise.all([pipeline(stages), fill()]);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  const digest = `sha256:${hash.digest('hex')}` as Digest;
  const file = join(into, digestHex(digest));
  await rename(unfinished, file);
  const diffId = `sha256:${tarHash.digest('hex')}` as Digest;
  return { digest, size, diffId, mediaType: MEDIA_TYPES[compression], file };
}

function tap(see: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      see(chunk);
      done(null, chunk);
    },
  });
}

type Pack = ReturnType<typeof pack>;
type Entry = Parameters<Pack['entry']>[0];

async function addEntries(archive: Pack, root: string, only: (path: string) => boolean): Promise<void> {
  const firstNames = new Map<bigint, string>();
  const visit = async (folder: string): Promise<void> => {
    const names = (await readdir(join(root, folder))).sort();
    for (const name of names) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (!only(path)) continue;
      const full = join(root, path);
      const stats = await lstat(full, { bigint: true });
      const entry: Entry = {
        name: path,
        mode: Number(stats.mode) & 0o7777,
        mtime: new Date(Number(stats.mtimeNs / 1_000_000_000n) * 1000),
        uid: 0,
        gid: 0,
      };
      const firstName = firstNames.get(stats.ino);
      if (stats.isDirectory()) {
        await addEntry(archive, { ...entry, name: `${path}/`, type: 'directory' });
        await visit(path);
      } else if (stats.isSymbolicLink()) {
        await addEntry(archive, { ...entry, type: 'symlink', linkname: await readlink(full) });
      } else if (stats.isFile() && firstName !== undefined) {
        await addEntry(archive, { ...entry, type: 'link', linkname: firstName });
      } else if (stats.isFile()) {
        if (stats.nlink > 1n) firstNames.set(stats.ino, path);
        await addFile(archive, { ...entry, size: Number(stats.size) }, full);
      }
      // Sockets, pipes and devices have no place in a test image.
    }
  };
  await visit('');
}

function addEntry(archive: Pack, entry: Entry): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(entry, (error) => (error ? reject(error) : resolve()));
  });
}

async function addFile(archive: Pack, entry: Entry, path: string): Promise<void> {
  const written = Promise.withResolvers<void>();
  const sink = archive.entry(entry, (error) => (error ? written.reject(error) : written.resolve()));
  await pipeline(createReadStream(path), sink as unknown as NodeJS.WritableStream);
  await written.promise;
}
