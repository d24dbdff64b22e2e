import { readdir, readFile, readlink } from 'node:fs/promises';

/** Reading of /proc and the like; whatever is not there or not allowed is undefined or empty. */
export interface SystemFiles {
  read(path: string): Promise<string | undefined>;
  list(path: string): Promise<readonly string[]>;
  link(path: string): Promise<string | undefined>;
}

export const systemFiles: SystemFiles = {
  read: (path) => readFile(path, 'latin1').catch(() => undefined),
  list: (path) => readdir(path).catch(() => []),
  link: (path) => readlink(path).catch(() => undefined),
};
