import { lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Footprint } from './index-protocol.ts';
import { INDEX_FILE, segmentsPath } from './layout.ts';

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
  let names: string[];
  try {
    names = readdirSync(path);
  } catch {
    // A plain file, or a directory such as lost+found that we may not read.
    return total;
  }
  for (const name of names) {
    const child = join(path, name);
    if (wanted(child)) total += treeBytes(child, wanted);
  }
  return total;
}

function allocatedOf(path: string): number {
  // Something may vanish between readdir and here.
  return (lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}
