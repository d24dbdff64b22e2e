import { Command } from 'commander';
import { parseDigest } from '../blob/digest.ts';
import { UsageError } from './failure.ts';
import { type Downloaded, download } from './get/download.ts';
import { Fetcher } from './get/fetcher.ts';
import { resolveLayer } from './get/image.ts';
import { parseTarget, withoutSecrets } from './get/target.ts';
import { parseHeaders, takeUserInfo } from './get/user-headers.ts';
import { parseRange, WHOLE } from './get/wanted-range.ts';
import { findNode, type NodeFlags, nodeOptions } from './node-address.ts';
import { createProgress, progressMode } from './progress.ts';
import { formatBytes, formatRate, formatSeconds } from './quantity.ts';
import { stopSignal } from './signals.ts';

interface GetFlags extends NodeFlags {
  readonly output?: string;
  readonly o?: string;
  readonly digest?: string;
  readonly range?: string;
  readonly header: readonly string[];
  readonly progress: boolean;
  readonly json?: boolean;
}

export function getCommand(): Command {
  const command = new Command('get')
    .summary('download a blob, a URL or a layer')
    .description(
      'Downloads through the node, so that its cache serves and keeps it, or directly when no node runs or it refuses the URL. Resumes an interrupted download and verifies the digest; the file appears under its name only when all of it is there and right.',
    )
    .argument('<url>', "a blob's URL, any http(s) URL, or oci://HOST/REPOSITORY@DIGEST")
    .option('-O, --output <file>', 'where to write it')
    .option('-o <file>', 'the same as -O')
    .option('--digest <digest>', 'sha256:… of the whole; a wrong one leaves no file')
    .option('--range <a-b>', 'only these bytes: A-B (both included), A-, or -N for the last N')
    .option(
      '-H, --header <line>',
      "'Name: value' for the request (repeatable)",
      (line: string, all: readonly string[]) => [...all, line],
      [] as readonly string[],
    )
    .option('--no-progress', 'no progress, only the result')
    .option('--json', 'print one JSON document at the end')
    .addHelpText(
      'after',
      `
Examples:
  damselfly get https://registry.example.com/v2/app/blobs/sha256:… -O layer.tar.gz
  damselfly get oci://docker.io/library/alpine@sha256:… -O layer.tar.gz
  damselfly get https://example.com/model.bin -O model.bin --digest sha256:… --range 0-1048575`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(get);
}

async function get(text: string, flags: GetFlags): Promise<void> {
  const output = flags.output ?? flags.o;
  if (output === undefined) throw new UsageError('say where to write it: -O FILE');
  const range = flags.range === undefined ? WHOLE : parseRange(flags.range);
  if (flags.digest !== undefined && flags.range !== undefined)
    throw new UsageError('--digest is that of the whole: it does not go with --range');
  const named = flags.digest === undefined ? undefined : parseDigest(flags.digest);
  if (named === null)
    throw new UsageError(`--digest is ${JSON.stringify(flags.digest)}; expected sha256: and 64 hex digits`);
  const target = parseTarget(text);
  const own = parseHeaders(flags.header);
  const userInfo = target.kind === 'object' ? takeUserInfo(target.url) : [];
  const node = findNode(flags);
  const stop = stopSignal();
  const progress = createProgress(progressMode(flags));
  const fetcher = new Fetcher({
    config: node.config,
    node: node.proxy,
    headers: { common: own.common, credential: [...own.credential, ...userInfo] },
    notify: (message) => console.error(`damselfly get: ${message}`),
  });
  const begunMs = performance.now();
  try {
    const found = target.kind === 'image' ? await resolveLayer(fetcher, target, stop.signal) : target;
    const ofPath = found.kind === 'registry' && flags.range === undefined ? found.digest : undefined;
    const result = await download({
      fetcher,
      target: found,
      output,
      range,
      digest: named ?? ofPath,
      progress,
      signal: stop.signal,
    });
    progress.end();
    report(withoutSecrets(text), output, result, (performance.now() - begunMs) / 1000, flags.json === true);
  } finally {
    progress.end();
    stop.dispose();
    await fetcher.close();
  }
}

function report(url: string, output: string, result: Downloaded, seconds: number, asJson: boolean): void {
  if (asJson) {
    console.log(JSON.stringify({ url, output, ...result, seconds }, undefined, 2));
    return;
  }
  const resumed = result.resumed > 0 ? `, ${formatBytes(result.resumed)} of it from before` : '';
  const from =
    result.through === 'node'
      ? `through the node${result.source === undefined ? '' : ` (${result.source})`}`
      : 'directly';
  const check = result.verified ? 'verified' : 'not verified: no digest was given';
  console.log(
    `${output}: ${formatBytes(result.bytes)}${resumed} in ${formatSeconds(seconds)} (${formatRate(result.bytes / seconds)}), ${from}, ${check}`,
  );
}
