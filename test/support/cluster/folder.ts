import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, self } from '../netns/names.ts';

const PREFIX = 'damselfly-cluster';

/**
 * A folder for the caches of one cluster. Gigabytes that a killed run left in `parent` go first: its owner stands in the
 * folder's name.
 */
export async function clusterFolder(parent: string): Promise<string> {
  for (const name of await readdir(parent)) {
    const [, pid, startTicks] = /^damselfly-cluster-(\d+)-(\d+)-\w+$/.exec(name) ?? [];
    if (pid === undefined || startTicks === undefined || isAlive({ pid: Number(pid), startTicks })) continue;
    await removeFolder(join(parent, name));
  }
  const { pid, startTicks } = self();
  return await mkdtemp(join(parent, `${PREFIX}-${pid}-${startTicks}-`));
}

export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
}
