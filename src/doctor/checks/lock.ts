import { type Found, failed, ok, skipped } from '../check.ts';
import { type Owner, ownerText } from '../host/processes.ts';
import type { RunningNode } from '../running-node.ts';

export interface LockWorld {
  readonly dir: string;
  readonly node: Promise<RunningNode>;
  /** undefined: there is no lock file. */
  lockInode(): Promise<number | undefined>;
  /** null: nobody; undefined: the system does not tell. */
  lockHolder(inode: number): Promise<Owner | null | undefined>;
}

/** Who uses the cache directory: one process may. */
export async function checkLock(world: LockWorld): Promise<Found[]> {
  const { dir } = world;
  const inode = await world.lockInode();
  if (inode === undefined) return [ok(dir, 'no node has used it yet')];
  const [holder, node] = await Promise.all([world.lockHolder(inode), world.node]);
  if (holder === undefined) return [skipped(dir, 'this system does not tell who holds its lock')];
  if (holder === null) return [ok(dir, 'nobody uses it')];
  if (node.kind === 'node' && node.status.cache.dir === dir)
    return [ok(dir, `the running node uses it (pid ${holder.pid})`)];
  return [
    failed(
      dir,
      `${ownerText(holder)} uses it, and it is not the node that admin.listen leads to`,
      'Stop that process, give this node a cache.dir of its own, or name the running node with --admin HOST:PORT',
    ),
  ];
}
