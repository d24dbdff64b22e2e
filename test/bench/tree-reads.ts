import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Random } from '../support/random.ts';

const MAX_SMALL_BYTES = 16 * 1024;

/** A way to read of a tree; equal trees give equal words. */
export interface TreeRead {
  readonly name: string;
  readonly expected: string;
  read(folder: string): Promise<string>;
}

/** Every file, one after another, as a copy or an archiver reads. @returns how many bytes they are. */
export async function readTree(folder: string, signal: AbortSignal): Promise<string> {
  // tar notices /dev/null and would read nothing.
  return await shell('find . -type f -print0 | sort -z | xargs -0 cat -- | wc -c', folder, '', signal);
}

/** These files, one after another, as an application reads that starts. @returns the hash of it all. */
export async function readList(
  folder: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  return await shell('xargs -0 cat -- | sha256sum', folder, names.join('\0'), signal);
}

/** Names of non-empty files up to 16 KiB, picked at random over the whole tree, the same each time. */
export async function smallFiles(root: string, count: number): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { size } = await stat(path);
    if (size > 0 && size <= MAX_SMALL_BYTES) names.push(path.slice(root.length + 1));
  }
  names.sort();
  const random = new Random('small files');
  const picked = new Set<string>();
  while (picked.size < Math.min(count, names.length)) {
    const name = names[random.integer(0, names.length)];
    if (name !== undefined) picked.add(name);
  }
  return [...picked];
}

/** In processes of their own: this one's thread pool would wait in reads of the mount. */
async function shell(script: string, cwd: string, input: string, signal: AbortSignal): Promise<string> {
  const child = spawn('bash', ['-c', `set -o pipefail; ${script}`], {
    ...{ cwd, signal, killSignal: 'SIGKILL' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [said, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  if (code !== 0) throw new Error(`${script}: exit code ${code}`);
  return said.trim();
}
