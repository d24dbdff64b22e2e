import { Command } from 'commander';
import { gcCommand } from './cache/gc.ts';
import { rmCommand } from './cache/rm.ts';
import { verifyCommand } from './cache/verify.ts';

export function cacheCommand(): Command {
  return new Command('cache')
    .summary("checks, tidies or empties this node's cache")
    .description(
      'Looks after the cache of this host: through the node while one runs, else in cache.dir itself, which is locked meanwhile.',
    )
    .addCommand(verifyCommand())
    .addCommand(gcCommand())
    .addCommand(rmCommand());
}
