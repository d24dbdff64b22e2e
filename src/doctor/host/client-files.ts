import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { HostFiles } from '../../../config/clients/host-files.ts';

/** A configuration file is some kilobytes; a bound against whatever else lies there. */
const MAX_BYTES = 2 * 2 ** 20;
const ABSENT = new Set(['ENOENT', 'ENOTDIR']);

/** The files of the host whose root is here. @param root `/`, or where another system's is mounted. */
export function clientFiles(root: string): HostFiles {
  return {
    read(path) {
      return whenThere(path, () => {
        const at = join(root, path);
        const stat = statSync(at);
        if (!stat.isFile() || stat.size > MAX_BYTES) throw new Error(`${path} is no configuration file`);
        return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(at));
      });
    },
    list: (folder) => whenThere(folder, () => readdirSync(join(root, folder)).sort()) ?? [],
  };
}

function whenThere<T>(path: string, look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (ABSENT.has(code)) return undefined;
    if (error instanceof TypeError) throw new Error(`${path} is no text file`, { cause: error });
    if (code === '') throw error;
    throw new Error(`${path} cannot be read (${code})`, { cause: error });
  }
}
