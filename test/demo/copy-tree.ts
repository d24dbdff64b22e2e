import { copyFile, lstat, mkdir, readdir, readlink, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface CopiedTree {
  readonly files: number;
  readonly bytes: number;
}

/** Single huge files would make one layer of one file, which no image looks like. */
const MAX_FILE_BYTES = 4 << 20;

/** Copies files and links of a real folder, in the order of their names, until `maxBytes` are reached. */
export async function copyTree(
  source: string,
  target: string,
  options: { readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<CopiedTree> {
  const copied = { files: 0, bytes: 0 };
  const visit = async (folder: string): Promise<void> => {
    const entries = await readdir(join(source, folder), { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      options.signal.throwIfAborted();
      if (copied.bytes >= options.maxBytes) return;
      const path = join(folder, entry.name);
      const from = join(source, path);
      const to = join(target, path);
      if (entry.isDirectory()) await visit(path);
      else if (entry.isSymbolicLink()) {
        await mkdir(dirname(to), { recursive: true });
        await symlink(await readlink(from), to);
      } else if (entry.isFile()) {
        const { size } = await lstat(from);
        if (size > MAX_FILE_BYTES) continue;
        await mkdir(dirname(to), { recursive: true });
        await copyFile(from, to);
        copied.files++;
        copied.bytes += size;
      }
    }
  };
  await mkdir(target, { recursive: true });
  await visit('');
  return copied;
}
