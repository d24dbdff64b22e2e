import { ip } from './commands.ts';
import { isAlive, ownerOf } from './names.ts';

/**
 * Removes the namespaces of labs whose process has ended without doing so (kill -9), with what still runs inside.
 * Those of living processes, and of anybody else, stay.
 * @returns the names that were removed.
 */
export async function removeLeftovers(): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await namespaces()) {
    const owner = ownerOf(name);
    if (owner === undefined || isAlive(owner)) continue;
    // Two runs may find the same one.
    await removeNamespace(name).catch(async (error: unknown) => {
      if ((await namespaces()).includes(name)) throw error;
    });
    removed.push(name);
  }
  return removed;
}

export async function namespaces(): Promise<string[]> {
  // Not -json: it prints nothing at all where there is none.
  const text = await ip('netns', 'list');
  return text.split('\n').flatMap((line) => line.split(' ', 1)[0] || []);
}

/** Kills whatever runs in a namespace and removes it; its interfaces go with it. */
export async function removeNamespace(name: string): Promise<void> {
  // A process that stays would keep the namespace alive without a name.
  for (const pid of (await ip('netns', 'pids', name)).split('\n').filter(Boolean).map(Number)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  await ip('netns', 'del', name);
}
