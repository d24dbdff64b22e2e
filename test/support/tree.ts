import { chmod, link, lutimes, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededBytes } from './origin/content.ts';
import { Random } from './random.ts';

export interface TreeOptions {
  readonly seed?: number | string;
  /** Bytes of all files together, about; default 8 MiB. */
  readonly bytes?: number;
}

export interface TreeSummary {
  readonly files: number;
  readonly folders: number;
  readonly links: number;
  /** Bytes of all files; hard links count once. */
  readonly bytes: number;
}

/** Every entry carries this time, so that the same seed gives the same archive. */
const TREE_TIME_S = 1_700_000_000;
const MAX_FILE_BYTES = 8 << 20;
const WORDS = [
  'alpha',
  'config',
  'image',
  'layer',
  'peer',
  'proxy',
  'return',
  'segment',
  'the',
  'value',
  '=',
  '{',
] as const;
const EXTENSIONS = ['.js', '.so.6', '.txt', '.json', '.gz', '', '.conf', '.py'] as const;

/** Names that tar, shells, URLs and file systems like to get wrong. */
const ODD_NAMES = [
  'name with spaces',
  'ümläuts ünd 漢字 🦋',
  'e\u0301-decomposed',
  '"quotes" and \'more\'',
  'back\\slash',
  'per%20cent',
  '-dash',
  '.hidden',
  'trailing dot.',
  'line\nbreak',
  'x'.repeat(255),
] as const;

/**
 * Makes a folder tree as images hold them, the same for the same seed: many small files and a few big ones, text and
 * incompressible bytes, equal files, empty ones, runs of zeros, links of every kind, deep and oddly named entries.
 * @param folder made here; must not exist.
 */
export async function makeTree(folder: string, options: TreeOptions = {}): Promise<TreeSummary> {
  const { seed = 1, bytes: wanted = 8 << 20 } = options;
  const random = new Random(seed);
  const summary = { files: 0, folders: 0, links: 0, bytes: 0 };
  const paths: string[] = [];

  const makeFolder = async (path: string) => {
    await mkdir(path, { recursive: true });
    summary.folders++;
  };
  const makeFile = async (path: string, bytes: Uint8Array, mode = 0o644) => {
    await writeFile(path, bytes);
    await chmod(path, mode);
    paths.push(path);
    summary.files++;
    summary.bytes += bytes.length;
  };

  await makeFolder(folder);
  await makeOdd(join(folder, 'odd'), { makeFolder, makeFile });
  summary.links += 4;
  let at = folder;
  let last: Uint8Array = Buffer.alloc(0);
  for (let n = 0; summary.bytes < wanted; n++) {
    if (n % 12 === 0) {
      at = join(folder, random.pick(['usr', 'lib', 'opt', 'etc']), `d${random.integer(0, 40)}`, `p${n}`);
      await makeFolder(at);
    }
    // About log-normal around 4 KiB: most files are small, most bytes are in big ones.
    const spread = random.next() + random.next() + random.next() + random.next() - 2;
    const size = Math.min(MAX_FILE_BYTES, wanted - summary.bytes, Math.floor(4096 * 2 ** (spread * 6)));
    const isCopy = random.next() < 0.05;
    const bytes = isCopy
      ? last
      : random.next() < 0.6
        ? text(random, size)
        : seededBytes(`${seed}:${n}`, { start: 0, end: size });
    last = bytes;
    await makeFile(
      join(at, `f${n}${random.pick(EXTENSIONS)}`),
      bytes,
      random.pick([0o644, 0o644, 0o755, 0o600]),
    );
    if (random.next() < 0.03) {
      await symlink(`../${random.pick(['p0', 'nowhere'])}`, join(at, `link${n}`));
      summary.links++;
    }
  }
  await setTimes(folder);
  return summary;
}

async function makeOdd(
  folder: string,
  make: {
    makeFolder(path: string): Promise<void>;
    makeFile(path: string, bytes: Uint8Array, mode?: number): Promise<void>;
  },
): Promise<void> {
  await make.makeFolder(folder);
  for (const name of ODD_NAMES) await make.makeFile(join(folder, name), Buffer.from(`named ${name}\n`));
  await make.makeFile(join(folder, 'empty'), Buffer.alloc(0));
  await make.makeFile(join(folder, 'one-byte'), Buffer.from('x'), 0o400);
  await make.makeFile(join(folder, 'zeros'), Buffer.alloc(300_000));
  await make.makeFile(join(folder, 'setuid'), Buffer.from('#!/bin/sh\n'), 0o4755);
  await make.makeFolder(join(folder, 'empty folder'));
  await link(join(folder, 'one-byte'), join(folder, 'hard-link'));
  await symlink('one-byte', join(folder, 'soft-link'));
  await symlink('..', join(folder, 'to-a-folder'));
  await symlink('/nowhere/at/all', join(folder, 'dangling'));
  const deep = join(folder, ...Array.from({ length: 20 }, (_, level) => `level-${level}`));
  await make.makeFolder(deep);
  await make.makeFile(join(deep, 'bottom'), Buffer.from('deep\n'));
}

function text(random: Random, size: number): Buffer {
  const line = Array.from({ length: 40 }, () => random.pick(WORDS)).join(' ');
  return Buffer.alloc(size, `${line}\n`);
}

/** Deepest first: touching an entry changes the time of the folder around it. (readdir's `recursive` follows links.) */
async function setTimes(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await setTimes(path);
    else await lutimes(path, TREE_TIME_S, TREE_TIME_S);
  }
  await lutimes(folder, TREE_TIME_S, TREE_TIME_S);
}
