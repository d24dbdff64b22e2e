import { closeSync, openSync, readFileSync } from 'node:fs';

/** Descriptors that one burst of requests needs at once: client and origin sockets, segment files, the index. */
const RESERVE = 64;

/** The soft limit of open files of this process, or undefined where the system does not tell (not Linux). */
export function openFilesLimit(): number | undefined {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return line === null ? undefined : Number(line[1]);
  } catch {
    return undefined;
  }
}

/**
 * True when a burst of requests would run out of descriptors. POSIX open() gives the lowest free number, so a number
 * near the limit means that all below it are taken: one cheap call where counting /proc/self/fd costs more the
 * fuller it is.
 * @param limit of {@link openFilesLimit}; without it only the failed open itself tells.
 * @param open gives a descriptor that it closes again.
 */
export function filesNearlyExhausted(limit: number | undefined, open: () => number = openAndClose): boolean {
  try {
    const lowestFree = open();
    return limit !== undefined && lowestFree >= limit - Math.min(RESERVE, Math.floor(limit / 10));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'EMFILE' || code === 'ENFILE';
  }
}

function openAndClose(): number {
  const fd = openSync('/dev/null', 'r');
  closeSync(fd);
  return fd;
}
