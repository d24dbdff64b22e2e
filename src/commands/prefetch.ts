import { Command } from 'commander';
import { parsePlatform } from '../admin/platform.ts';
import type { PrefetchEvent, PrefetchRequest } from '../admin/prefetch-events.ts';
import { parseReference } from '../admin/reference.ts';
import { DamselflyError } from '../errors.ts';
import { type AdminClient, adminClient } from './admin-client.ts';
import { CommandFailed, failureOf } from './failure.ts';
import { findNode, type NodeFlags, nodeOptions } from './node-address.ts';
import { createProgress, type Progress, progressMode } from './progress.ts';
import { formatBytes, formatRate, formatSeconds } from './quantity.ts';
import { stopSignal } from './signals.ts';

interface PrefetchFlags extends NodeFlags {
  readonly platform?: string;
  readonly progress: boolean;
  readonly json?: boolean;
}

/** One entry of the `--json` document. */
interface PrefetchResult {
  readonly reference: string;
  readonly ok: boolean;
  readonly blobs: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly error?: { readonly code: string; readonly message: string };
}

export function prefetchCommand(): Command {
  const command = new Command('prefetch')
    .summary("read images or blobs into this node's cache")
    .description(
      "Has the running node read whole images (the index, the platform's manifest, config and layers) or single blobs into its cache, with the node's own credentials. One after the other; ends with 1 when any of them failed, and with 2 at once when one of them is no reference.",
    )
    .argument('<ref-or-url...>', 'image references, oci://… references, or blob URLs')
    .option('--platform <os/arch[/variant]>', "platform of an index, or all (default: the node's own)")
    .option('--no-progress', 'no progress, only the result')
    .option('--json', 'print one JSON document when all are through')
    .addHelpText(
      'after',
      `
Examples:
  damselfly prefetch docker.io/library/alpine:3.20
  damselfly prefetch registry.example.com/app:1.2 registry.example.com/tools@sha256:… --platform linux/arm64
  damselfly prefetch https://registry.example.com/v2/app/blobs/sha256:… --json`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (references: string[], flags: PrefetchFlags) => {
    // A mistake in one of them is told before hours are spent on the others.
    for (const reference of references) parseReference(reference);
    parsePlatform(flags.platform);
    const client = adminClient(findNode(flags));
    const stop = stopSignal();
    try {
      const results: PrefetchResult[] = [];
      for (const reference of references) results.push(await prefetchOne(client, reference, flags, stop));
      if (flags.json === true) console.log(JSON.stringify({ images: results }, undefined, 2));
      if (results.some((result) => !result.ok)) throw new CommandFailed();
    } finally {
      await client.close();
    }
  });
}

async function prefetchOne(
  client: AdminClient,
  reference: string,
  flags: PrefetchFlags,
  signal: AbortSignal,
): Promise<PrefetchResult> {
  const begunMs = performance.now();
  const progress = createProgress(progressMode(flags));
  let last: PrefetchEvent | undefined;
  let error: PrefetchResult['error'];
  try {
    last = await follow(client, reference, flags.platform, signal, progress);
    if (last.event === 'failed') error = { code: last.code, message: last.message };
  } catch (cause) {
    // Without a node there is nothing to try for the others either.
    if (signal.aborted || failureOf(cause).code === 'node-unreachable') throw cause;
    const { code, message } = failureOf(cause);
    error = { code, message };
  } finally {
    progress.end();
  }
  const seconds = Math.round(performance.now() - begunMs) / 1000;
  const bytes = last?.bytesDone ?? 0;
  const blobs = last?.blobs ?? 0;
  if (error !== undefined)
    console.error(`damselfly prefetch: ${reference}: ${error.message} [${error.code}]`);
  else if (flags.json !== true)
    console.log(
      `${reference}: ${blobs} blobs, ${formatBytes(bytes)} in ${formatSeconds(seconds)} (${formatRate(bytes / Math.max(seconds, 0.001))})`,
    );
  return {
    reference,
    ok: error === undefined,
    blobs,
    bytes,
    seconds,
    ...(error === undefined ? {} : { error }),
  };
}

/** @returns the event that ended it: `done` or `failed`. */
async function follow(
  client: AdminClient,
  reference: string,
  platform: string | undefined,
  signal: AbortSignal,
  progress: Progress,
): Promise<PrefetchEvent> {
  const request: PrefetchRequest = { reference, ...(platform === undefined ? {} : { platform }) };
  let begun = false;
  for await (const line of client.postLines('/api/v1/prefetch', request, signal)) {
    const event = line as PrefetchEvent;
    const total = event.bytesTotal ?? undefined;
    if (!begun) progress.begin(reference, total, event.bytesDone);
    begun = true;
    progress.update(event.bytesDone, total);
    if (event.event === 'done' || event.event === 'failed') return event;
  }
  throw new DamselflyError(
    'node-unreachable',
    'the node ended the answer before the prefetch was through; was it stopped? Run the same command again',
  );
}
