import { childrenOf } from '../measure.ts';
import { findCommand } from '../programs.ts';
import type { Stage } from '../stage.ts';

/** A server that is measured: Damselfly or one of those it is compared with. */
export interface Rival {
  readonly name: string;
  readonly url: string;
  /** Its main process; what its children use counts as well. */
  readonly pid: number;
}

/** A rival that comes back with the cache it had. */
export interface RestartableRival extends Rival {
  start(): Promise<void>;
  /** SIGTERM, and waits for its end. */
  stop(): Promise<void>;
  /** kill -9 of every process of it. */
  kill(): Promise<void>;
}

/** Starts those whose program is here; the others are named below the table. */
export async function startRivals<T>(
  stage: Stage,
  wanted: readonly { readonly name: string; readonly needs: string; start(): Promise<T> }[],
): Promise<T[]> {
  const started: T[] = [];
  for (const { name, needs, start } of wanted) {
    stage.signal.throwIfAborted();
    if (findCommand(needs) === undefined)
      stage.record.note(`left out: ${name} (no ${needs} on this machine)`);
    else started.push(await start());
  }
  return started;
}

/** A killed parent leaves its children behind: nginx's worker would go on serving. */
export function killTree(pid: number): void {
  for (const one of [pid, ...childrenOf(pid)]) {
    try {
      process.kill(one, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
