import { type Found, ok, skipped, warning } from '../check.ts';

/** Segment files kept open, and sockets of a node's clients and origins at their usual worst. */
const WANTED_FILES = 4_096;
/** What a node takes besides its memory tier: pieces under way, the index in memory, Node itself. */
const BASE_BYTES = 256 * 2 ** 20;

export interface LimitsWorld {
  /** Of the running node, else of this process. */
  readonly limits: Promise<{ readonly whose: string; readonly text: string | undefined }>;
}

/** Open files. Node raises the soft limit to the hard one when it starts, so the hard one counts. */
export async function checkOpenFiles(world: LimitsWorld): Promise<Found[]> {
  const { whose, text } = await world.limits;
  const [, soft, hard] = /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(text ?? '') ?? [];
  if (soft === undefined || hard === undefined)
    return [skipped(undefined, 'this system does not tell the limit of open files')];
  const limit = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  const what = `${whose} may open ${hard} files (soft limit ${soft})`;
  if (limit >= WANTED_FILES) return [ok(undefined, what)];
  return [
    warning(
      undefined,
      `${what}; ${WANTED_FILES} are meant for a busy node`,
      'Raise it: LimitNOFILE= of systemd, ulimit -Hn, or the container runtime',
    ),
  ];
}

export interface MemoryWorld {
  /** Of the cgroup, else of the machine; bytes. */
  readonly limitBytes: number;
  readonly isOfCgroup: boolean;
  readonly memoryBytes: number;
  formatBytes(bytes: number): string;
}

export async function checkMemory({
  limitBytes,
  isOfCgroup,
  memoryBytes,
  formatBytes,
}: MemoryWorld): Promise<Found[]> {
  const has = `${formatBytes(limitBytes)} ${isOfCgroup ? 'by its cgroup' : 'in this machine'}`;
  const wanted = memoryBytes + BASE_BYTES;
  if (wanted <= limitBytes)
    return [ok(undefined, `${has}; cache.memoryBytes is ${formatBytes(memoryBytes)}`)];
  return [
    warning(
      undefined,
      `${has}, and a node with cache.memoryBytes ${formatBytes(memoryBytes)} may take ${formatBytes(wanted)}`,
      'Raise the memory limit, or lower cache.memoryBytes',
    ),
  ];
}
