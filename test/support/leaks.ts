import { readdirSync, readlinkSync } from 'node:fs';
import { eventually } from './eventually.ts';

export interface OpenHandles {
  /** Open files, sockets, pipes … of this process by /proc/self/fd. */
  readonly fds: number;
  readonly sockets: number;
  /** Targets of open file descriptors that are files. */
  readonly files: readonly string[];
  /** What keeps the event loop alive, by type. */
  readonly resources: Readonly<Record<string, number>>;
}

/** Types that come and go by themselves: timers of the platform, and the answers of a thread pool that is draining. */
const FLEETING = new Set(['Timeout', 'Immediate', 'FSReqPromise', 'FSReqCallback', 'CloseReq', 'TickObject']);

export function openHandles(): OpenHandles {
  const targets: string[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      targets.push(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor of the directory listing itself is closed by now.
    }
  }
  const resources: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) resources[type] = (resources[type] ?? 0) + 1;
  return {
    fds: targets.length,
    sockets: targets.filter((target) => target.startsWith('socket:')).length,
    files: targets.filter(isOurs).sort(),
    resources,
  };
}

/** Not the devices, and not the file that node's own test reporter opens when its first event comes. */
function isOurs(target: string): boolean {
  return (
    target.startsWith('/') &&
    !target.startsWith('/dev/') &&
    !process.execArgv.some((arg) => arg.endsWith(target))
  );
}

/** What is open now and was not before, in words; empty when nothing is. */
export function newlyOpen(before: OpenHandles, after: OpenHandles = openHandles()): string[] {
  const found: string[] = [];
  if (after.sockets > before.sockets) found.push(`${after.sockets - before.sockets} sockets`);
  const known = [...before.files];
  for (const file of after.files) {
    const at = known.indexOf(file);
    if (at < 0) found.push(`file ${file}`);
    else known.splice(at, 1);
  }
  for (const [type, count] of Object.entries(after.resources)) {
    const more = count - (before.resources[type] ?? 0);
    if (more > 0 && !FLEETING.has(type)) found.push(`${more} ${type}`);
  }
  return found;
}

/** Runs `work` and then expects everything that it opened to be closed, within a deadline. */
export async function expectNoLeak<T>(work: () => Promise<T>, timeoutMs = 5_000): Promise<T> {
  const before = openHandles();
  const result = await work();
  await eventually(
    () => {
      const open = newlyOpen(before);
      if (open.length > 0) throw new Error(`still open: ${open.join(', ')}`);
      return true;
    },
    { timeoutMs, what: 'everything closed again' },
  );
  return result;
}
