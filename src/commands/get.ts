import { Command, Option } from 'commander';
import { type Digest, digestAlgorithm, parseDigest } from '../blob/digest.ts';
import { DamselflyError } from '../errors.ts';
import { UsageError } from './failure.ts';
import { directoryFor } from './get/direct-http.ts';
import { type Downloaded, download } from './get/download.ts';
import { Fetcher } from './get/fetcher.ts';
import { originOf, resolveLayer } from './get/image.ts';
import { type ObjectTarget, parseTarget, type RegistryTarget, withoutSecrets } from './get/target.ts';
import { parseHeaders, takeUserInfo } from './get/user-headers.ts';
import { parseRange, WHOLE } from './get/wanted-range.ts';
import { findNode, type NodeFlags, nodeOptions } from './node-address.ts';
import { createProgress, progressMode } from './progress.ts';
import { formatBytes, formatRate, formatSeconds } from './quantity.ts';
import { repeatable } from './repeatable.ts';
import { stopSignal } from './signals.ts';

interface GetFlags extends NodeFlags {
  readonly output?: string;
  readonly o?: string;
  readonly digest?: string;
  readonly range?: string;
  readonly header?: readonly string[];
  readonly progress: boolean;
  readonly json?: boolean;
}

export function getCommand(): Command {
  const command = new Command('get')
    .summary('download a blob, an object or an image layer')
    .description(
      'Downloads through the node, or directly when no node runs or it does not serve the URL. Goes on where an interrupted download broke off (FILE.partial), checks the digest, and puts FILE in place only when all of it is there and right.',
    )
    .argument(
      '<url>',
      'https://HOST/v2/REPOSITORY/blobs/DIGEST, any other http(s) URL, or oci://HOST/REPOSITORY with @DIGEST or :TAG',
    )
    .option('-O, --output <file>', 'where to put it (also -o); what is there is replaced at the end')
    .addOption(new Option('-o <file>').hideHelp())
    .option(
      '--digest <digest>',
      'what the bytes must have, such as sha256:… (default: the digest in the URL)',
    )
    .option('--range <a-b>', 'a part only: A-B (both included), A- or -N (the last N bytes)')
    .addOption(repeatable('-H, --header <line>', "'Name: value' for the origin (repeatable)"))
    .option('--no-progress', 'no progress, only the result')
    .option('--json', 'print one JSON document when it is through')
    .addHelpText(
      'after',
      `
A registry that asks for a login gets the one of docker's config.json (DOCKER_CONFIG, ~/.docker), or none.
Authorization and Cookie lines given by -H follow no redirect to another host.
A part (--range) cannot be checked against the digest of the whole. An image with several layers is
answered with their list.

Examples:
  damselfly get https://registry.example.com/v2/app/blobs/sha256:… -O layer.tar.gz
  damselfly get oci://docker.io/library/alpine:3.20 -O alpine.tar.gz
  damselfly get https://bucket.example.com/model.bin -O model.bin --digest sha256:…
  damselfly get https://registry.example.com/v2/app/blobs/sha256:… -O head --range 0-1048575 --json`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(get);
}

async function get(text: string, flags: GetFlags): Promise<void> {
  const output = flags.output ?? flags.o;
  if (output === undefined) throw new UsageError('-O FILE is missing: where shall it go?');
  const range = flags.range === undefined ? WHOLE : parseRange(flags.range);
  const flagDigest = flags.digest === undefined ? undefined : readDigest(flags.digest);
  if (flagDigest !== undefined && range !== WHOLE)
    throw new UsageError('--digest is that of the whole, so a part (--range) cannot be checked against it');
  const headers = parseHeaders(flags.header ?? []);
  const parsed = parseTarget(text);
  const userInfo = takeUserInfo(parsed.kind === 'object' ? parsed.url : new URL(text));
  const node = findNode(flags);
  const notify = (message: string): void => console.error(`damselfly get: ${message}`);
  const fetcher = new Fetcher({
    config: node.config,
    node: node.proxy,
    headers: { ...headers, credential: [...headers.credential, ...userInfo] },
    notify,
  });
  const stop = stopSignal();
  const begunMs = performance.now();
  try {
    const target =
      parsed.kind === 'image'
        ? await resolveLayer(fetcher, parsed, originOf(parsed, directoryFor(node.config)), stop)
        : parsed;
    const result = await download({
      fetcher,
      target,
      output,
      range,
      digest: range === WHOLE ? expectedDigest(flagDigest, target) : undefined,
      progress: createProgress(progressMode(flags)),
      notify,
      signal: stop,
    });
    report(result, {
      url: withoutSecrets(text),
      output,
      flags,
      seconds: (performance.now() - begunMs) / 1000,
    });
  } finally {
    await fetcher.close();
  }
}

function readDigest(text: string): Digest {
  const digest = parseDigest(text.toLowerCase());
  if (digest !== null) return digest;
  throw new UsageError(
    `--digest is ${JSON.stringify(text)}; expected sha256: with 64 hex digits, or sha512: with 128`,
  );
}

/** @throws DamselflyError digest-mismatch when flag and URL contradict each other: no bytes could have both. */
function expectedDigest(flag: Digest | undefined, target: RegistryTarget | ObjectTarget): Digest | undefined {
  const own = target.kind === 'registry' ? target.digest : undefined;
  if (flag === undefined || own === undefined || digestAlgorithm(flag) !== digestAlgorithm(own))
    return flag ?? own;
  if (flag === own) return own;
  throw new DamselflyError(
    'digest-mismatch',
    `--digest is ${flag} and the URL names ${own}; nothing was downloaded. Leave --digest out to check what the URL says`,
  );
}

function report(
  result: Downloaded,
  { url, output, flags, seconds }: { url: string; output: string; flags: GetFlags; seconds: number },
): void {
  const { bytes, resumedBytes, digest, verified, source, through } = result;
  if (flags.json === true) {
    const took = { bytes, resumedBytes, seconds: Number(seconds.toFixed(3)), range: flags.range ?? null };
    console.log(JSON.stringify({ url, output, ...took, digest, verified, source, through }, undefined, 2));
    return;
  }
  const rate = formatRate((bytes - resumedBytes) / Math.max(seconds, 0.001));
  const from = through === 'node' ? `${source}, through the node` : 'the origin, directly';
  const check = verified ? `${digest} verified` : `${digest}, not checked`;
  const before = resumedBytes > 0 ? `, ${formatBytes(resumedBytes)} of it from before,` : '';
  console.error(
    `${output}: ${formatBytes(bytes)}${before} in ${formatSeconds(seconds)} (${rate}) from ${from}; ${check}`,
  );
}
