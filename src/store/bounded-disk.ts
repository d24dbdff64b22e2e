import type { DiskLayer } from './disk-layer.ts';
import { Gate } from './gate.ts';

/** libuv's own number of threads. */
const DEFAULT_THREADS = 4;

/**
 * How many calls of a disk may wait at once: each of them holds a thread of libuv's pool until the disk answers, and
 * what else needs one (files of other disks, names, compression) must not wait for ours.
 */
export function diskThreads(poolSize: string | undefined = process.env.UV_THREADPOOL_SIZE): number {
  const threads = Number(poolSize ?? DEFAULT_THREADS);
  const pool = Number.isInteger(threads) && threads > 0 ? threads : DEFAULT_THREADS;
  return Math.max(1, pool - Math.max(1, Math.floor(pool / 4)));
}

/** The same disk, with at most `maxCalls` calls under way; the others wait in order. Their number has its bounds elsewhere. */
export function boundedDisk(disk: DiskLayer, maxCalls: number): DiskLayer {
  const gate = new Gate(maxCalls, Number.POSITIVE_INFINITY);
  return {
    open: (path, mode) => gate.run(() => disk.open(path, mode)),
    mkdir: (path) => gate.run(() => disk.mkdir(path)),
    read: (fd, into, position) => gate.run(() => disk.read(fd, into, position)),
    write: (fd, bytes, position) => gate.run(() => disk.write(fd, bytes, position)),
    truncate: (fd, lengthBytes) => gate.run(() => disk.truncate(fd, lengthBytes)),
    stat: (fd) => disk.stat(fd),
    close: (fd) => gate.run(() => disk.close(fd)),
    unlink: (path) => gate.run(() => disk.unlink(path)),
    freeSpace: (path) => gate.run(() => disk.freeSpace(path)),
  };
}
