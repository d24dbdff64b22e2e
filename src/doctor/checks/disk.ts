import { dirname } from 'node:path';
import { SEGMENT_BYTES } from '../../blob/piece.ts';
import { type Found, failed, ok, warning } from '../check.ts';

export interface FileSystem {
  /** The magic number of statfs(2). */
  readonly type: number;
  readonly blockBytes: number;
  readonly blocks: number;
  /** To us, not to root alone. */
  readonly freeBlocks: number;
  /** 0 where there is no bound. */
  readonly files: number;
  readonly freeFiles: number;
}

export interface DiskWorld {
  /** `cache.dir`. */
  readonly dir: string;
  readonly maxBytes: number;
  readonly minFreeBytes: number;
  /** What the cache has of it by now; undefined: nobody told. */
  readonly usedBytes: Promise<number | undefined>;
  /** `folder`, `other`, or the errno's name. */
  kindOf(path: string): Promise<'folder' | 'other' | string>;
  /** null when this user may write there, else the errno's name. */
  writable(path: string): Promise<string | null>;
  fileSystem(path: string): Promise<FileSystem>;
  formatBytes(bytes: number): string;
}

/** What of these a cache should not be on, and why. */
const UNFIT: Readonly<Record<number, string>> = {
  16914836: 'tmpfs: it is memory, and empty after a reboot',
  2240043254: 'ramfs: it is memory, and has no bound',
  26985: 'NFS: its locks and its latency are not those of a disk',
  4283649346: 'SMB: its locks and its latency are not those of a disk',
  4266872130: 'SMB: its locks and its latency are not those of a disk',
  16914839: '9p: it is slow, and its locks are not those of a disk',
  2035054128: "overlayfs, a container's own layer: it is slow, and gone with the container",
  1702057286: 'FUSE: its speed and its locks depend on what is behind it',
};

/** Whether the cache has a place: folder, rights, kind of file system, space and inodes. */
export async function checkDisk(world: DiskWorld): Promise<Found[]> {
  const { dir } = world;
  const { path, isThere, trouble } = await nearest(world, dir);
  if (trouble !== undefined) return [trouble];
  const found: Found[] = [];
  const denied = await world.writable(path);
  if (denied !== null) {
    found.push(
      failed(
        dir,
        denied === 'EROFS'
          ? 'its file system is read-only'
          : `this user may not ${isThere ? 'write there' : `create it in ${path}`} (${denied})`,
        'Give the folder to the user that the node runs as, or set cache.dir to another one',
      ),
    );
  } else
    found.push(ok(dir, isThere ? 'is there, and this user may write to it' : `will be created in ${path}`));
  const system = await world.fileSystem(path);
  const unfit = UNFIT[system.type];
  if (unfit !== undefined)
    found.push(warning(dir, `is on ${unfit}`, 'Set cache.dir to a folder on a disk of this host'));
  found.push(await space(world, system));
  if (system.files > 0) found.push(inodes(world, system));
  return found;
}

async function nearest(
  world: DiskWorld,
  dir: string,
): Promise<{ path: string; isThere: boolean; trouble?: Found }> {
  for (let path = dir; ; path = dirname(path)) {
    const kind = await world.kindOf(path);
    if (kind === 'folder') return { path, isThere: path === dir };
    if (kind !== 'ENOENT' || path === dirname(path)) {
      const what =
        kind === 'other' || kind === 'ENOTDIR'
          ? `${path} is no folder`
          : `${path} cannot be looked at (${kind})`;
      return {
        path,
        isThere: false,
        trouble: failed(dir, what, 'Set cache.dir to a folder that this user may use'),
      };
    }
  }
}

async function space(world: DiskWorld, system: FileSystem): Promise<Found> {
  const { dir, maxBytes, minFreeBytes, formatBytes } = world;
  const totalBytes = system.blocks * system.blockBytes;
  const freeBytes = system.freeBlocks * system.blockBytes;
  const usedBytes = Math.min(maxBytes, (await world.usedBytes) ?? 0);
  const subject = `${dir}: space`;
  const has = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} are free`;
  if (freeBytes <= minFreeBytes && usedBytes === 0)
    return failed(
      subject,
      `${has}, and cache.minFree keeps ${formatBytes(minFreeBytes)} free: nothing can be kept`,
      'Free some space, lower cache.minFree, or set cache.dir to a larger disk',
    );
  if (freeBytes <= minFreeBytes)
    return warning(
      subject,
      `${has}, and cache.minFree keeps ${formatBytes(minFreeBytes)} free: the cache shrinks for it`,
      'Free some space, or lower cache.minFree',
    );
  if (usedBytes + freeBytes - minFreeBytes < maxBytes)
    return warning(
      subject,
      `${has}: the cache gets ${formatBytes(usedBytes + freeBytes - minFreeBytes)} at most, and not the ${formatBytes(maxBytes)} of cache.maxBytes`,
      'Lower cache.maxBytes to what the disk has for it, so that status and alerts tell the truth',
    );
  return ok(subject, `${has}, enough for cache.maxBytes (${formatBytes(maxBytes)})`);
}

function inodes(world: DiskWorld, system: FileSystem): Found {
  const subject = `${world.dir}: inodes`;
  const wanted = Math.ceil(world.maxBytes / SEGMENT_BYTES);
  const has = `${system.freeFiles} of ${system.files} are free`;
  if (system.freeFiles < 64)
    return failed(
      subject,
      `${has}: nothing more can be kept`,
      'Remove files from that file system, or set cache.dir to another one',
    );
  if (system.freeFiles < wanted)
    return warning(
      subject,
      `${has}, and a full cache has ${wanted} files or more`,
      'Set cache.dir to a file system with more inodes, or lower cache.maxBytes',
    );
  return ok(subject, has);
}
