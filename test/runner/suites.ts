import { readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

/** A named part of the tests, with the limits it must keep on two slow cores. */
export interface Suite {
  readonly name: string;
  /** Folders under test/ whose `*.test.ts` files belong to it. */
  readonly folders: readonly string[];
  /** Past this the whole suite is killed and failed. */
  readonly budgetMs: number;
  /** Past this one file is killed and failed: it hangs, or left a handle open. */
  readonly fileTimeoutMs: number;
  /** Files at once. */
  readonly concurrency: number;
  /** False for a part of another suite that has a name of its own only to be asked for. */
  readonly inFullRun: boolean;
}

const MINUTE_MS = 60_000;

export const SUITES: readonly Suite[] = [
  {
    name: 'unit',
    folders: [
      'blob',
      'config',
      'content',
      'store',
      'origin',
      'access',
      'proxy',
      'admin',
      'observe',
      'commands',
      'doctor',
      'support',
      'conformance',
      'peer',
      'runner',
      'docs',
    ],
    budgetMs: 9 * MINUTE_MS,
    fileTimeoutMs: 2 * MINUTE_MS,
    concurrency: 2,
    inFullRun: true,
  },
  {
    name: 'conformance',
    folders: ['conformance'],
    budgetMs: 3 * MINUTE_MS,
    fileTimeoutMs: 2 * MINUTE_MS,
    concurrency: 2,
    inFullRun: false,
  },
  {
    name: 'integration',
    folders: ['integration', 'mutants'],
    budgetMs: 10 * MINUTE_MS,
    fileTimeoutMs: 5 * MINUTE_MS,
    concurrency: 2,
    inFullRun: true,
  },
  {
    name: 'fault',
    folders: ['fault'],
    budgetMs: 14 * MINUTE_MS,
    fileTimeoutMs: 4 * MINUTE_MS,
    concurrency: 1,
    inFullRun: true,
  },
  {
    name: 'e2e',
    folders: ['e2e'],
    budgetMs: 20 * MINUTE_MS,
    fileTimeoutMs: 10 * MINUTE_MS,
    concurrency: 1,
    inFullRun: true,
  },
];

/** Folders of test/ that hold no suite: measured, shown or shared, but not run by `npm test`. */
export const OTHER_FOLDERS: readonly string[] = ['bench', 'demo', 'fixtures'];

/** The test files below `folders` of `testRoot`, sorted; a folder that does not exist holds none. */
export function testFiles(testRoot: string, folders: readonly string[]): string[] {
  return folders.flatMap((folder) => filesBelow(join(testRoot, folder))).sort();
}

/** Test files that no suite would run: a folder was added and forgotten in SUITES. */
export function strayFiles(testRoot: string): string[] {
  const known = new Set([...SUITES.flatMap((suite) => suite.folders), ...OTHER_FOLDERS]);
  return filesBelow(testRoot).filter((file) => {
    const parts = relative(testRoot, file).split(sep);
    return parts.length < 2 || !known.has(parts[0] ?? '');
  });
}

function filesBelow(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
