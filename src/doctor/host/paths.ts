import { constants } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import type { FileSystem } from '../checks/disk.ts';

/** `folder`, `other`, or the errno's name. */
export async function kindOf(path: string): Promise<string> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'other';
  } catch (error) {
    return codeOf(error);
  }
}

/** null when this user may write in the folder, else the errno's name. */
export async function writable(path: string): Promise<string | null> {
  try {
    await access(path, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    return codeOf(error);
  }
}

/** Of a path: what lies under it, and what is free. */
export async function fileSystem(path: string): Promise<FileSystem> {
  const { type, bsize, blocks, bavail, files, ffree } = await statfs(path);
  return { type, blockBytes: bsize, blocks, freeBlocks: bavail, files, freeFiles: ffree };
}

/** Permission bits of a file that this user may read, else the errno's name. */
export async function modeOf(path: string): Promise<number | string> {
  try {
    await access(path, constants.R_OK);
    return (await stat(path)).mode;
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
