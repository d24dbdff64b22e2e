import type { SystemFiles } from './files.ts';

export interface Owner {
  readonly pid: number;
  /** As `ps` shows it, `node`. */
  readonly command: string;
}

/** The state LISTEN in /proc/net/tcp. */
const LISTEN = '0A';

/**
 * Which process listens on each of these TCP ports, as far as /proc tells: other users' processes are root's to see, and
 * what listens in another network namespace is nobody's.
 */
export async function listeners(
  files: SystemFiles,
  ports: ReadonlySet<number>,
  signal: AbortSignal,
): Promise<Map<number, Owner>> {
  const portOf = new Map<string, number>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of ((await files.read(table)) ?? '').split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = '0'] = line.trim().split(/\s+/);
      const port = Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16);
      if (state === LISTEN && ports.has(port) && inode !== '0') portOf.set(`socket:[${inode}]`, port);
    }
  }
  const owners = new Map<number, Owner>();
  if (portOf.size === 0) return owners;
  for (const pid of await files.list('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    signal.throwIfAborted();
    for (const fd of await files.list(`/proc/${pid}/fd`)) {
      const port = portOf.get((await files.link(`/proc/${pid}/fd/${fd}`)) ?? '');
      if (port !== undefined && !owners.has(port)) owners.set(port, await ownerOf(files, Number(pid)));
    }
    if (owners.size === new Set(portOf.values()).size) break;
  }
  return owners;
}

/**
 * Who holds a lock on the file of this inode.
 * @returns null when nobody does; undefined where the system does not tell.
 */
export async function lockHolder(files: SystemFiles, inode: number): Promise<Owner | null | undefined> {
  const table = await files.read('/proc/locks');
  if (table === undefined) return undefined;
  for (const line of table.split('\n')) {
    // 1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 0 EOF
    const [, pid, file] = /^\d+: \w+\s+\w+\s+\w+\s+(-?\d+)\s+(\S+)/.exec(line) ?? [];
    if (file !== undefined && Number(file.slice(file.lastIndexOf(':') + 1)) === inode)
      return await ownerOf(files, Number(pid));
  }
  return null;
}

async function ownerOf(files: SystemFiles, pid: number): Promise<Owner> {
  const command = (await files.read(`/proc/${pid}/comm`))?.trim();
  return { pid, command: command === undefined || command === '' ? 'a process' : command };
}

export function ownerText(owner: Owner | undefined): string {
  return owner === undefined
    ? 'another process, which this user may not see'
    : `${owner.command} (pid ${owner.pid})`;
}
