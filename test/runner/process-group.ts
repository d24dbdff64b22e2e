import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Sends a signal to every process of a group; false when there is none left. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch {
    return false;
  }
}

/** Names of the living processes of a group. Empty where there is no /proc to tell. */
export function groupMembers(group: number): string[] {
  let ids: string[];
  try {
    ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
  const names: string[] = [];
  for (const id of ids) {
    try {
      // proc(5): pid (comm) state ppid pgrp …; comm may hold spaces and brackets, so split after its last one.
      const stat = readFileSync(`/proc/${id}/stat`, 'utf8');
      const close = stat.lastIndexOf(')');
      const [state, , pgrp] = stat.slice(close + 2).split(' ');
      if (Number(pgrp) === group && state !== 'Z' && state !== 'X') {
        names.push(`${stat.slice(stat.indexOf('(') + 1, close)} (${id})`);
      }
    } catch {
      // The process ended while we looked.
    }
  }
  return names;
}

/** Waits until a group whose leader has ended is empty. @returns the names of those that did not end in time. */
export async function groupEnded(group: number, graceMs: number): Promise<string[]> {
  const deadline = Date.now() + graceMs;
  let members = groupMembers(group);
  while (members.length > 0 && Date.now() < deadline) {
    await delay(50);
    members = groupMembers(group);
  }
  return members;
}
