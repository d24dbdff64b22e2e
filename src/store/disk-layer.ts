import * as fs from 'node:fs';

/** What identifies the state of an open file. Two equal stats taken around a read mean that nobody wrote in between. */
export interface FileStat {
  readonly dev: bigint;
  readonly ino: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** Units of 512 bytes, as stat(2) counts allocated space. */
  readonly blocks: bigint;
  readonly nlink: bigint;
}

export interface FreeSpace {
  /** Bytes that we may still allocate. */
  readonly freeBytes: number;
  /** Files that may still be created; null where the file system has no such bound. */
  readonly freeFiles: number | null;
  /** The unit of allocation, bytes. */
  readonly blockBytes: number;
}

/**
 * Everything that the store asks of the file system on the main thread, one system call each. Tests put faults in
 * here: a full, failing, read-only, slow or stopped disk. Errors are Node's own, with their `code`.
 */
export interface DiskLayer {
  /** 'create' makes a new file and fails with EEXIST; 'existing' opens for reading and, where allowed, writing. */
  open(path: string, mode: 'create' | 'existing'): Promise<number>;
  mkdir(path: string): Promise<void>;
  /** One read(2): may be short, 0 at the end of the file. */
  read(fd: number, into: Uint8Array, position: number): Promise<number>;
  /** One write(2): may be short. */
  write(fd: number, bytes: Uint8Array, position: number): Promise<number>;
  truncate(fd: number, lengthBytes: number): Promise<void>;
  /** Synchronous: the inode of an open file is in memory, so this costs a third of a microsecond and no disk. */
  stat(fd: number): FileStat;
  close(fd: number): Promise<void>;
  unlink(path: string): Promise<void>;
  freeSpace(path: string): Promise<FreeSpace>;
}

type Settle<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** The callback API with fds as numbers: FileHandle would hide the fd that sendfile needs and close it when collected. */
function call<T>(start: (settle: Settle<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error === null ? resolve(value) : reject(error)));
  });
}

function callVoid(start: (settle: (error: NodeJS.ErrnoException | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error === null ? resolve() : reject(error)));
  });
}

/** Whatever somebody put in a file's place: no link is followed, and no pipe waited for. */
const AS_IT_IS = fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK;

/** The file is gone, or a link (O_NOFOLLOW), a directory or a pipe is in its place. */
export const LOST_FILE_CODES: ReadonlySet<string> = new Set([
  'ENOENT',
  'ELOOP',
  'EISDIR',
  'ENOTDIR',
  'ENXIO',
]);

const READ_ONLY_CODES = new Set(['EROFS', 'EACCES', 'EPERM']);

/** The real file system. Files are the owner's alone: cached bytes may be private ones. */
export const realDisk: DiskLayer = {
  async open(path, mode) {
    const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL } = fs.constants;
    if (mode === 'create')
      return await call<number>((settle) => fs.open(path, O_RDWR | O_CREAT | O_EXCL, 0o600, settle));
    let fd: number;
    try {
      fd = await call<number>((settle) => fs.open(path, O_RDWR | AS_IT_IS, settle));
    } catch (error) {
      // A disk that turned read-only still has our bytes.
      if (!READ_ONLY_CODES.has(errorCode(error))) throw error;
      fd = await call<number>((settle) => fs.open(path, O_RDONLY | AS_IT_IS, settle));
    }
    if (fs.fstatSync(fd).isFile()) return fd;
    await callVoid((settle) => fs.close(fd, settle));
    throw Object.assign(new Error('something else is in the place of the file'), { code: 'ENXIO' });
  },
  mkdir: (path) => callVoid((settle) => fs.mkdir(path, { mode: 0o700 }, settle)),
  read: (fd, into, position) =>
    call<number>((settle) => fs.read(fd, into, 0, into.byteLength, position, settle)),
  write: (fd, bytes, position) =>
    call<number>((settle) => fs.write(fd, bytes, 0, bytes.byteLength, position, settle)),
  truncate: (fd, lengthBytes) => callVoid((settle) => fs.ftruncate(fd, lengthBytes, settle)),
  stat: (fd) => fs.fstatSync(fd, { bigint: true }),
  close: (fd) => callVoid((settle) => fs.close(fd, settle)),
  unlink: (path) => callVoid((settle) => fs.unlink(path, settle)),
  async freeSpace(path) {
    const stats = await call<fs.StatsFs>((settle) => fs.statfs(path, settle));
    return {
      freeBytes: stats.bavail * stats.bsize,
      // btrfs and others without an inode table say 0 of 0.
      freeFiles: stats.files === 0 ? null : stats.ffree,
      blockBytes: Math.max(4096, stats.bsize),
    };
  },
};

/** The errno name of a failed call, or '' for anything else. */
export function errorCode(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

/** @returns false when the file ends before `into` is full. */
export async function readFully(
  disk: DiskLayer,
  fd: number,
  into: Uint8Array,
  position: number,
): Promise<boolean> {
  let done = 0;
  while (done < into.byteLength) {
    const got = await disk.read(fd, into.subarray(done), position + done);
    if (got === 0) return false;
    done += got;
  }
  return true;
}

export async function writeFully(
  disk: DiskLayer,
  fd: number,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const put = await disk.write(fd, bytes.subarray(done), position + done);
    // POSIX allows 0 for a full device; without progress this would go round for ever.
    if (put === 0) throw Object.assign(new Error('the disk took no bytes'), { code: 'ENOSPC' });
    done += put;
  }
}

export function allocatedBytes(stat: FileStat): number {
  return Number(stat.blocks) * 512;
}
