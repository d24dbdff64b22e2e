import { type BigIntStats, createReadStream } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

export interface TreeComparison {
  readonly entries: number;
  readonly bytes: number;
  /** The first few differences in words; empty when the trees are equal. */
  readonly differences: readonly string[];
}

export interface CompareOptions {
  /** Files read at once. */
  readonly readers?: number;
  /** Called after each file; for tests that do something in the middle. */
  readonly onFile?: (done: number) => void | Promise<void>;
}

const MAX_DIFFERENCES = 10;
const READ_BYTES = 256 * 1024;

/** Compares every entry of two trees: names, types, modes, owners, times, link targets, and files byte for byte. */
export async function compareTrees(
  expected: string,
  actual: string,
  options: CompareOptions = {},
): Promise<TreeComparison> {
  const names = await entriesBelow(expected);
  const actualNames = await entriesBelow(actual);
  const differences: string[] = [];
  const known = new Set(names);
  for (const name of actualNames) if (!known.has(name)) differences.push(`${name}: is not in the source`);
  let bytes = 0;
  let done = 0;
  const queue = names.values();
  const reader = async (): Promise<void> => {
    for (const name of queue) {
      if (differences.length >= MAX_DIFFERENCES) return;
      try {
        // Not `bytes += await …`: that reads the sum before it waits, and readers run at once.
        const compared = await compareEntry(join(expected, name), join(actual, name));
        bytes += compared;
      } catch (error) {
        differences.push(`${name}: ${error instanceof Error ? error.message : error}`);
      }
      done += 1;
      await options.onFile?.(done);
    }
  };
  await Promise.all(Array.from({ length: options.readers ?? 4 }, reader));
  return { entries: names.length, bytes, differences: differences.slice(0, MAX_DIFFERENCES) };
}

/** Paths below a folder, each folder before what is in it. (readdir's own `recursive` follows symbolic links.) */
async function entriesBelow(root: string, folder = ''): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    const name = join(folder, entry.name);
    names.push(name);
    if (entry.isDirectory()) names.push(...(await entriesBelow(root, name)));
  }
  return names;
}

async function compareEntry(expected: string, actual: string): Promise<number> {
  const [want, got] = await Promise.all([lstat(expected, { bigint: true }), lstat(actual, { bigint: true })]);
  for (const [fact, read] of Object.entries(FACTS)) {
    const [a, b] = [read(want), read(got)];
    if (a !== b) throw new Error(`${fact} is ${b}, not ${a}`);
  }
  if (want.isSymbolicLink()) {
    const [a, b] = await Promise.all([readlink(expected), readlink(actual)]);
    if (a !== b) throw new Error(`points to ${b}, not ${a}`);
  }
  if (!want.isFile()) return 0;
  await compareContent(expected, actual);
  return Number(want.size);
}

/** Directory sizes differ between file systems, and times finer than a second are not kept by RAFS. */
const FACTS: Readonly<Record<string, (stats: BigIntStats) => bigint>> = {
  'mode (with the type)': (stats) => stats.mode,
  owner: (stats) => stats.uid,
  group: (stats) => stats.gid,
  size: (stats) => (stats.isDirectory() ? 0n : stats.size),
  'mtime in seconds': (stats) => stats.mtimeNs / 1_000_000_000n,
  'device number': (stats) => (stats.isBlockDevice() || stats.isCharacterDevice() ? stats.rdev : 0n),
};

async function compareContent(expected: string, actual: string): Promise<void> {
  const handle = await open(actual, 'r');
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    let at = 0;
    for await (const chunk of createReadStream(expected, {
      highWaterMark: READ_BYTES,
    }) as AsyncIterable<Buffer>) {
      let filled = 0;
      while (filled < chunk.length) {
        const { bytesRead } = await handle.read(buffer, filled, chunk.length - filled, at + filled);
        if (bytesRead === 0) throw new Error(`ends at byte ${at + filled}`);
        filled += bytesRead;
      }
      if (chunk.compare(buffer, 0, chunk.length) !== 0)
        throw new Error(`differs in bytes ${at} to ${at + chunk.length}`);
      at += chunk.length;
    }
  } finally {
    await handle.close();
  }
}
