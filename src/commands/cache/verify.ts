import { Command, InvalidArgumentError } from 'commander';
import { REFUSED } from '../../../config/field.ts';
import { bytesPerSecond, RATE_EXPECTED } from '../../../config/size.ts';
import type { CacheVerifyEvent, FailedEvent, VerifyRequest } from '../../admin/cache-events.ts';
import type { PieceRun } from '../../blob/piece.ts';
import type { VerifyEvent } from '../../store/verify.ts';
import { CommandFailed } from '../failure.ts';
import { nodeOptions } from '../node-address.ts';
import { createProgress, progressMode } from '../progress.ts';
import { formatBytes, formatRate, formatSeconds } from '../quantity.ts';
import { stopSignal } from '../signals.ts';
import { type CacheFlags, cacheEvents, lastOf, type Through } from './events.ts';

interface VerifyFlags extends CacheFlags {
  readonly rate?: number;
  readonly progress: boolean;
}

type BadEvent = Extract<VerifyEvent, { event: 'bad' }>;
type StateEvent = Exclude<VerifyEvent, BadEvent>;

/** More of them than this are counted and not listed. */
const MAX_LISTED = 10_000;

const WORDS: Readonly<Record<BadEvent['reason'], string>> = {
  missing: 'their file is gone',
  damaged: 'damaged',
  'not-the-blob': 'together they are not this blob',
};

export function verifyCommand(): Command {
  const command = new Command('verify')
    .summary('hashes what the cache has, and drops what is wrong')
    .description(
      'Reads and hashes every piece of the cache, or of the given blobs, and drops those that are not what they were: they are read from elsewhere when somebody asks for them. Ends with 1 when something was wrong. Readers of a running node come first.',
    )
    .argument('[digest...]', 'blobs, by digest or its beginning (default: all)')
    .option(
      '--rate <rate>',
      'bytes per second at most, 0 for no limit (default: 128MiB/s on a running node, else no limit)',
      readRate,
    )
    .option('--no-progress', 'no progress, only the result')
    .option('--json', 'print one JSON document when it is through')
    .addHelpText(
      'after',
      `
Examples:
  damselfly cache verify
  damselfly cache verify sha256:2b7314049760 --json
  damselfly cache verify --rate 20MiB/s`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(verify);
}

async function verify(digests: string[], flags: VerifyFlags): Promise<void> {
  const signal = stopSignal();
  const begunMs = performance.now();
  const progress = createProgress(progressMode(flags));
  const request: VerifyRequest = {
    ...(digests.length === 0 ? {} : { digests }),
    ...(flags.rate === undefined ? {} : { bytesPerSecond: flags.rate }),
  };
  const job = {
    route: 'verify' as const,
    body: request,
    offline: (keeper: Parameters<Parameters<typeof cacheEvents>[1]['offline']>[0], stop: AbortSignal) =>
      keeper.verify(request, stop) as AsyncGenerator<CacheVerifyEvent | FailedEvent>,
  };
  const bad: BadEvent[] = [];
  let last: StateEvent | undefined;
  let through: Through | undefined;
  const begun = (by: Through): void => {
    through = by;
  };
  try {
    for await (const event of cacheEvents<CacheVerifyEvent>(flags, job, signal, begun)) {
      if (event.event === 'bad') {
        if (bad.length < MAX_LISTED) bad.push(event);
        continue;
      }
      if (event.event === 'start') progress.begin('cache', event.bytesTotal, 0);
      else progress.update(event.bytesDone, event.bytesTotal);
      last = event.event === 'done' ? event : undefined;
    }
  } finally {
    progress.end();
  }
  const done = lastOf(last);
  const seconds = Math.round(performance.now() - begunMs) / 1000;
  const ok = done.badBlobs === 0;
  if (flags.json === true) {
    const { blobs, bytesDone: bytes, badBlobs, badPieces, newlyProven } = done;
    const list = bad.map(({ digest, reason, pieces }) => ({ digest, reason, pieces }));
    console.log(
      JSON.stringify(
        { ok, ...through, blobs, bytes, seconds, newlyProven, badBlobs, badPieces, bad: list },
        undefined,
        2,
      ),
    );
  } else {
    for (const note of through?.notes ?? []) console.error(`cache: ${note}`);
    for (const event of bad) console.log(badLine(event));
    console.log(verdict(done, seconds));
  }
  if (!ok) throw new CommandFailed();
}

function badLine({ digest, reason, pieces }: BadEvent): string {
  return `${digest}: dropped pieces ${runsText(pieces)}: ${WORDS[reason]}`;
}

function verdict(done: StateEvent, seconds: number): string {
  const { blobs, bytesDone, badBlobs, badPieces } = done;
  const read = `${blobs} ${blobs === 1 ? 'blob' : 'blobs'}, ${formatBytes(bytesDone)} in ${formatSeconds(seconds)} (${formatRate(bytesDone / Math.max(seconds, 0.001))})`;
  if (badBlobs === 0) return `${read}: all right`;
  return `${read}: ${badPieces} bad pieces of ${badBlobs} blobs are dropped, and read from elsewhere when asked for. Look at the disk when this comes again`;
}

/** `0-15, 17`: pieces as one counts them, both ends included. */
function runsText(runs: readonly PieceRun[]): string {
  const shown = runs
    .slice(0, 20)
    .map(({ first, end }) => (end - first === 1 ? `${first}` : `${first}-${end - 1}`));
  return runs.length > shown.length ? `${shown.join(', ')}, …` : shown.join(', ');
}

function readRate(text: string): number {
  const rate = bytesPerSecond(text);
  if (rate === REFUSED) throw new InvalidArgumentError(`Expected ${RATE_EXPECTED}.`);
  // JSON knows no infinity.
  return Math.min(rate, Number.MAX_SAFE_INTEGER);
}
