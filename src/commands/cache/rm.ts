import { Command } from 'commander';
import type { CacheRemoveEvent, RemovedBlob, RemoveRequest } from '../../admin/cache-events.ts';
import type { CacheKeeper } from '../../admin/cache-routes.ts';
import { UsageError } from '../failure.ts';
import { nodeOptions } from '../node-address.ts';
import { formatBytes } from '../quantity.ts';
import { stopSignal } from '../signals.ts';
import { type CacheFlags, cacheEvents, lastOf, type Through } from './events.ts';

interface RmFlags extends CacheFlags {
  readonly all?: boolean;
}

/** What the node takes in one request. */
const MAX_DIGESTS = 500;

export function rmCommand(): Command {
  const command = new Command('rm')
    .summary('removes blobs from the cache')
    .description(
      "Removes blobs, or all of them, from the cache. A blob that is being read or filled goes when those who use it now have ended. The node's identity, its remembered rights and everything else in cache.dir stay.",
    )
    .argument('[digest...]', 'blobs, by digest or an unmistakable beginning of it')
    .option('--all', 'all blobs')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  damselfly cache rm sha256:2b7314049760
  damselfly cache rm --all`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (digests: string[], flags: RmFlags) => {
    if (digests.length > 0 === (flags.all === true))
      throw new UsageError('Name the blobs to be removed, or give --all');
    if (digests.length > MAX_DIGESTS) throw new UsageError(`At most ${MAX_DIGESTS} digests at once`);
    const request: RemoveRequest = flags.all === true ? { all: true } : { digests };
    const job = {
      route: 'rm' as const,
      body: request,
      offline: (keeper: CacheKeeper, signal: AbortSignal) => keeper.remove(request, signal),
    };
    const removed: RemovedBlob[] = [];
    let last: Extract<CacheRemoveEvent, { event: 'done' }> | undefined;
    let through: Through | undefined;
    const begun = (by: Through): void => {
      through = by;
    };
    for await (const event of cacheEvents<CacheRemoveEvent>(flags, job, stopSignal(), begun)) {
      if (event.event === 'done') last = event;
      else if (flags.all !== true || flags.json === true)
        removed.push({ digest: event.digest, bytes: event.bytes, inUse: event.inUse });
    }
    const { blobs, bytes, inUse } = lastOf(last);
    if (flags.json === true) {
      console.log(JSON.stringify({ ...through, blobs, bytes, inUse, removed }, undefined, 2));
      return;
    }
    for (const blob of removed) {
      const when = blob.inUse ? 'in use; goes when its readers have ended' : 'removed';
      console.log(`${blob.digest}: ${formatBytes(blob.bytes)}, ${when}`);
    }
    if (flags.all === true) {
      const rest = inUse > 0 ? `; ${inUse} of them are in use, and go when their readers have ended` : '';
      console.log(`${blobs} ${blobs === 1 ? 'blob' : 'blobs'} removed, ${formatBytes(bytes)}${rest}`);
    }
  });
}
