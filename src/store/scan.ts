import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Footprint, SpareFile } from './index-protocol.ts';
import { INDEX_FILE, OTHER_FORMAT, segmentsPath } from './layout.ts';

/** Allocated bytes of each file in the segments directory. Synchronous: for the worker thread. */
export function listSegmentFiles(dir: string): Map<string, number> {
  const path = segmentsPath(dir);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const files = new Map<string, number>();
  for (const name of readdirSync(path)) files.set(name, allocatedOf(join(path, name)));
  return files;
}

/**
 * Removes what no row of the index speaks of: left behind by a crash between a file's birth and its row.
 * @returns false when the file system does not let us.
 */
export function removeSegmentFile(dir: string, name: string): boolean {
  try {
    // Recursive: something else may have been put in the place of a file.
    rmSync(join(segmentsPath(dir), name), { recursive: true, force: true });
    return true;
  } catch {
    return false;
  }
}

/**
 * Gives a full file system some space back before the index, and with it the order of use, can be read: the files that
 * were written longest ago go. @returns freed bytes.
 */
export function removeOldestFiles(dir: string, wantedBytes: number): number {
  const path = segmentsPath(dir);
  const files: { name: string; bytes: number; mtimeMs: number }[] = [];
  for (const name of namesIn(path)) {
    const stat = lstatSync(join(path, name), { throwIfNoEntry: false });
    if (stat !== undefined) files.push({ name, bytes: stat.blocks * 512, mtimeMs: stat.mtimeMs });
  }
  let freed = 0;
  for (const { name, bytes } of files.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
    if (freed >= wantedBytes) break;
    if (removeSegmentFile(dir, name)) freed += bytes;
  }
  return freed;
}

/** What other versions have left under {@link OTHER_FORMAT}: what was written longest ago first, their indexes last. */
export function listSpareFiles(dir: string): SpareFile[] {
  const files: (SpareFile & { readonly isIndex: boolean; readonly mtimeMs: number })[] = [];
  const walk = (path: string, isIndex: boolean): void => {
    for (const name of namesIn(path)) {
      const child = join(path, name);
      const stat = lstatSync(child, { throwIfNoEntry: false });
      if (stat?.isDirectory()) walk(child, false);
      else if (stat !== undefined)
        files.push({ path: child, bytes: stat.blocks * 512, isIndex, mtimeMs: stat.mtimeMs });
    }
  };
  for (const name of namesIn(dir)) if (OTHER_FORMAT.test(name)) walk(join(dir, name), true);
  files.sort((a, b) => Number(a.isIndex) - Number(b.isIndex) || a.mtimeMs - b.mtimeMs);
  return files.map(({ path, bytes }) => ({ path, bytes }));
}

/** @param indexBytes as the database itself reckons it. */
export function measureFootprint(dir: string, indexBytes: number): Footprint {
  const segments = segmentsPath(dir);
  return {
    indexBytes,
    segmentsDirBytes: allocatedOf(segments),
    otherBytes: treeBytes(dir, (path) => path !== segments && !path.startsWith(join(dir, INDEX_FILE))),
  };
}

/** Allocated bytes of `path` and everything under it that is `wanted`; links are not followed. */
function treeBytes(path: string, wanted: (path: string) => boolean): number {
  let total = allocatedOf(path);
  for (const name of namesIn(path)) {
    const child = join(path, name);
    if (wanted(child)) total += treeBytes(child, wanted);
  }
  return total;
}

/** None for a plain file, a directory such as lost+found that we may not read, and one that is not there. */
function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function allocatedOf(path: string): number {
  // Something may vanish between readdir and here.
  return (lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}
