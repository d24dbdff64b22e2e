import { Command, InvalidArgumentError } from 'commander';
import type { BlobLine, BlobsDocument } from '../admin/cache-events.ts';
import { type AdminClient, adminClient } from './admin-client.ts';
import { columns } from './columns.ts';
import { findNode, type NodeFlags, nodeOptions } from './node-address.ts';
import { formatBytes, formatSeconds } from './quantity.ts';

const TIMEOUT_MS = 60_000;
/** As many as the node gives at once. */
const PAGE_BLOBS = 1_000;
const DEFAULT_TEXT_BLOBS = 50;
/** `sha256:` and twelve digits: enough to name a blob to `cache rm`. */
const SHOWN_DIGEST_CHARS = 19;

interface BlobsFlags extends NodeFlags {
  readonly digest?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

export function blobsCommand(): Command {
  const command = new Command('blobs')
    .summary("what this node's cache holds")
    .description(
      'Lists the blobs of which the running node has at least a piece on its disk, the most recently read first. Where the node has an admin.tokenFile, its token is sent along.',
    )
    .option('--digest <prefix>', 'only digests that begin so, with or without sha256:')
    .option(
      '--limit <n>',
      `so many of them, 0 for all (default: ${DEFAULT_TEXT_BLOBS}, and all with --json)`,
      wholeNumber,
    )
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  damselfly blobs
  damselfly blobs --limit 0 --digest sha256:2b73
  damselfly blobs --json | jq '.blobs[] | select(.proven | not)'`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (flags: BlobsFlags) => {
    const client = adminClient(findNode(flags));
    try {
      const limit = flags.limit ?? (flags.json === true ? 0 : DEFAULT_TEXT_BLOBS);
      const { blobs, total } = await list(
        client,
        flags.digest,
        limit === 0 ? Number.POSITIVE_INFINITY : limit,
      );
      if (flags.json === true) console.log(JSON.stringify({ blobs, total }, undefined, 2));
      else console.log(blobsText(blobs, total, Date.now()));
    } finally {
      await client.close();
    }
  });
}

/** Page by page. A blob that was read meanwhile moves to the front, so it may come twice: it is kept once. */
async function list(
  client: AdminClient,
  digest: string | undefined,
  limit: number,
): Promise<Pick<BlobsDocument, 'blobs' | 'total'>> {
  const blobs = new Map<string, BlobLine>();
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  let after: string | null = null;
  for (;;) {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE_BLOBS, limit - blobs.size)) });
    if (digest !== undefined) query.set('digest', digest);
    if (after !== null) query.set('after', after);
    const path = `/api/v1/blobs?${query}`;
    const page = (await client.getJson(path, signal, { withToken: true })) as BlobsDocument;
    for (const blob of page.blobs) blobs.set(blob.digest, blob);
    after = page.next;
    if (after === null || blobs.size >= limit) return { blobs: [...blobs.values()], total: page.total };
  }
}

export function blobsText(blobs: readonly BlobLine[], total: BlobsDocument['total'], nowMs: number): string {
  if (total.blobs === 0) return 'no blobs';
  const rows = blobs.map((blob) => [
    blob.digest.slice(0, SHOWN_DIGEST_CHARS),
    formatBytes(blob.size),
    blob.pieces.present === blob.pieces.total ? 'whole' : `${blob.pieces.present}/${blob.pieces.total}`,
    formatBytes(blob.diskBytes),
    blob.proven ? 'proven' : '-',
    `${formatSeconds(Math.max(0, nowMs - Date.parse(blob.lastReadAt)) / 1000)} ago`,
    whereFrom(blob),
  ]);
  const lines = columns([['DIGEST', 'SIZE', 'PIECES', 'ON DISK', 'CHECKED', 'LAST READ', 'FROM'], ...rows]);
  const shown =
    blobs.length < total.blobs
      ? `${blobs.length} of ${total.blobs} blobs shown (--limit 0 shows all)`
      : `${total.blobs} ${total.blobs === 1 ? 'blob' : 'blobs'}`;
  return [...lines, '', `${shown}, ${formatBytes(total.diskBytes)} on disk in all`].join('\n');
}

function whereFrom({ repositories, origins }: BlobLine): string {
  const [first, ...more] =
    repositories.length > 0 ? repositories : origins.map((origin) => new URL(origin).host);
  if (first === undefined) return '-';
  return more.length === 0 ? first : `${first} and ${more.length} more`;
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number, 0 for all.');
}
