import { readFileSync } from 'node:fs';

const PREFIX = 'dmfly';

/** The process that a namespace belongs to. Ids are used again, so the time of its start belongs to it. */
export interface Owner {
  readonly pid: number;
  /** Kernel ticks from boot to the start of the process. */
  readonly startTicks: string;
}

/** `dmfly-4711-998877-1-hub`. @param lab tells the labs of one process apart. */
export function namespaceName(owner: Owner, lab: number, host: string): string {
  return [PREFIX, owner.pid, owner.startTicks, lab, host].join('-');
}

/** Whose namespace this is; undefined for those that no lab made. */
export function ownerOf(namespace: string): Owner | undefined {
  const [, pid, startTicks] = /^dmfly-(\d+)-(\d+)-\d+-[\w-]+$/.exec(namespace) ?? [];
  return pid === undefined || startTicks === undefined ? undefined : { pid: Number(pid), startTicks };
}

/** This process. */
export function self(): Owner {
  const startTicks = startTicksOf(process.pid);
  if (startTicks === undefined) throw new Error('/proc does not show this process');
  return { pid: process.pid, startTicks };
}

export function isAlive(owner: Owner): boolean {
  return startTicksOf(owner.pid) === owner.startTicks;
}

function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // proc(5): after the name in brackets come fields 3, 4, …; field 22 is the start, field 3 the state.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
