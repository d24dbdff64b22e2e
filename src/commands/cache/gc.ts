import { Command, InvalidArgumentError } from 'commander';
import { DURATION_EXPECTED, durationInMs, MAX_AGE_MS } from '../../../config/duration.ts';
import { REFUSED } from '../../../config/field.ts';
import { SIZE_EXPECTED, sizeInBytes } from '../../../config/size.ts';
import type { CacheGcEvent, GcRequest } from '../../admin/cache-events.ts';
import type { CacheKeeper } from '../../admin/cache-routes.ts';
import type { GcReport } from '../../store/gc.ts';
import { nodeOptions } from '../node-address.ts';
import { formatBytes } from '../quantity.ts';
import { stopSignal } from '../signals.ts';
import { type CacheFlags, cacheEvents, lastOf, type Through } from './events.ts';

interface GcFlags extends CacheFlags {
  readonly olderThan?: number;
  readonly maxBytes?: number;
}

export function gcCommand(): Command {
  const command = new Command('gc')
    .summary('brings the cache under its quota, and removes what is left over')
    .description(
      'Evicts down to cache.maxBytes and cache.minFree now, removes files that the index does not know, and forgets entries whose files are gone. With options it also evicts by age or down to a size, the least recently read first. What is being read stays.',
    )
    .option('--older-than <time>', 'evict what was not read for so long, such as 7d or 12h', readAge)
    .option('--max-bytes <size>', 'evict until the cache takes no more than this, such as 10GiB', readSize)
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  damselfly cache gc
  damselfly cache gc --older-than 7d
  damselfly cache gc --max-bytes 10GiB --json`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (flags: GcFlags) => {
    const request: GcRequest = {
      ...(flags.olderThan === undefined ? {} : { olderThanMs: flags.olderThan }),
      ...(flags.maxBytes === undefined ? {} : { maxBytes: flags.maxBytes }),
    };
    const job = {
      route: 'gc' as const,
      body: request,
      offline: (keeper: CacheKeeper, signal: AbortSignal) => keeper.collect(request, signal),
    };
    let report: GcReport | undefined;
    let through: Through | undefined;
    const begun = (by: Through): void => {
      through = by;
    };
    for await (const { event: _, ...done } of cacheEvents<CacheGcEvent>(flags, job, stopSignal(), begun))
      report = done;
    const done = lastOf(report);
    if (flags.json === true) console.log(JSON.stringify({ ...through, ...done }, undefined, 2));
    else {
      for (const note of through?.notes ?? []) console.error(`cache: ${note}`);
      console.log(reportText(done));
    }
  });
}

function reportText({ bytesAfter, evicted, unknownFiles, lostSegments }: GcReport): string {
  const did = [
    evicted.segments > 0 ? `evicted ${evicted.segments} segments (${formatBytes(evicted.bytes)})` : '',
    unknownFiles.files > 0
      ? `removed ${unknownFiles.files} files that nothing spoke of (${formatBytes(unknownFiles.bytes)})`
      : '',
    lostSegments > 0 ? `forgot ${lostSegments} segments whose files were gone` : '',
  ].filter((text) => text !== '');
  return `${did.length === 0 ? 'nothing to tidy' : did.join(', ')}; the cache takes ${formatBytes(bytesAfter)}`;
}

function readAge(text: string): number {
  const ms = durationInMs(0, MAX_AGE_MS)(text);
  if (ms === REFUSED) throw new InvalidArgumentError(`Expected ${DURATION_EXPECTED}.`);
  return ms;
}

function readSize(text: string): number {
  const bytes = sizeInBytes(text);
  if (bytes === REFUSED) throw new InvalidArgumentError(`Expected ${SIZE_EXPECTED}.`);
  return bytes;
}
