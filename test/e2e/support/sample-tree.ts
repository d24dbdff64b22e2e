import { chmod, link, lutimes, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command } from './command.ts';

/**
 * A tree as images hold them: a copy of a real one, and beside it the entries that real ones have few of.
 * @param source copied with its links, modes and times.
 */
export async function makeTree(source: string, target: string): Promise<void> {
  await mkdir(target);
  await command('cp', ['-a', '--reflink=auto', source, join(target, 'real')], { timeoutMs: 120_000 });
  const odd = join(target, 'odd');
  await mkdir(odd);
  await writeFile(join(odd, 'empty'), '');
  await writeFile(join(odd, 'one-byte'), 'x');
  await writeFile(join(odd, 'name with spaces, ümläuts and "quotes"'), 'named\n');
  await writeFile(join(odd, 'zeros'), Buffer.alloc(3 << 20));
  await writeFile(join(odd, 'setuid'), '#!/bin/sh\n');
  await chmod(join(odd, 'setuid'), 0o4755);
  await writeFile(join(odd, 'secret'), 'unreadable by others\n');
  await chmod(join(odd, 'secret'), 0o600);
  await link(join(odd, 'one-byte'), join(odd, 'hard-link'));
  await symlink('../odd/one-byte', join(odd, 'link'));
  await symlink('/nowhere/at/all', join(odd, 'dangling'));
  await lutimes(join(odd, 'link'), 1_000_000_000, 1_000_000_000);
  let deep = odd;
  for (let level = 0; level < 20; level++) deep = join(deep, `level-${level}`);
  await mkdir(deep, { recursive: true });
  await writeFile(join(deep, 'bottom'), 'deep\n');
}
