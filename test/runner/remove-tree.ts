import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Removes a folder with all that is in it, after whatever is still mounted in there has been taken off. */
export async function removeTree(folder: string): Promise<void> {
  for (const path of await mountsBelow(folder)) await run('umount', ['-l', path], { timeout: 10_000 });
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}

/** Mount points in a folder, the innermost first. Empty where there is no /proc to tell. */
async function mountsBelow(folder: string): Promise<string[]> {
  let mounts: string;
  try {
    mounts = await readFile('/proc/self/mounts', 'utf8');
  } catch {
    return [];
  }
  return mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
}
