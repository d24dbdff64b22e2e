import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Digest, digestHex, parseDigest } from '../blob/digest.ts';
import { pieceCount } from '../blob/piece.ts';
import { DamselflyError } from '../errors.ts';
import type { Catalog } from './catalog.ts';
import type { BlobEntry } from './segment.ts';

/** Blobs looked at between two turns of the loop. */
const STEP_BLOBS = 512;
export const MAX_PAGE_BLOBS = 1_000;
/** Fewer hex digits than this are a slip of the keyboard and not a name. */
export const MIN_PREFIX_DIGITS = 6;

/** One blob of which at least one piece is on the disk. */
export interface StoredBlob {
  readonly digest: Digest;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly mediaType: string | undefined;
  readonly pieces: { readonly present: number; readonly total: number };
  /** Allocated bytes of its segment files. */
  readonly diskBytes: number;
  /** All of it is here, and the whole matched its digest. */
  readonly proven: boolean;
  /** Milliseconds since the epoch. */
  readonly lastReadMs: number;
}

export interface InventoryQuery {
  /** Blobs per page, at most {@link MAX_PAGE_BLOBS}. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** The beginning of the digests wanted, with or without `sha256:`. */
  readonly digest?: string | undefined;
}

export interface InventoryPage {
  /** The most recently read first. */
  readonly blobs: readonly StoredBlob[];
  /** Where the next page begins; null on the last one. */
  readonly next: string | null;
  /** Of all pages. */
  readonly total: { readonly blobs: number; readonly diskBytes: number };
}

interface Place {
  readonly lastReadMs: number;
  readonly digest: Digest;
}

/**
 * One page of what is on the disk. Everything is looked at for each page, in small steps between which the loop turns,
 * and no more than two pages are held: a large index costs time and no memory.
 */
export async function listBlobs(catalog: Catalog, query: InventoryQuery): Promise<InventoryPage> {
  const limit = Math.min(Math.max(1, query.limit), MAX_PAGE_BLOBS);
  const after = query.after === undefined ? undefined : readPlace(query.after);
  const matches = prefixTest(query.digest);
  let found: Place[] = [];
  let blobs = 0;
  let diskBytes = 0;
  let looked = 0;
  let more = false;
  const cut = (): void => {
    found.sort(byPlace);
    more ||= found.length > limit;
    found = found.slice(0, limit);
  };
  for (const entry of catalog.entries()) {
    looked += 1;
    if (looked % STEP_BLOBS === 0) await nextTurn();
    if (entry.presentPieces === 0 || !matches(entry.digest)) continue;
    blobs += 1;
    diskBytes += diskBytesOf(entry);
    const place = { lastReadMs: lastReadMs(entry), digest: entry.digest };
    if (after !== undefined && byPlace(place, after) <= 0) continue;
    found.push(place);
    if (found.length >= limit * 2) cut();
  }
  cut();
  const page = found.flatMap(({ digest }) => {
    const entry = catalog.find(digest);
    return entry === undefined || entry.presentPieces === 0 ? [] : [storedBlob(entry)];
  });
  const last = found.at(-1);
  return {
    blobs: page,
    next: more && last !== undefined ? writePlace(last) : null,
    total: { blobs, diskBytes },
  };
}

/** Digests of everything that is known, also of blobs without a piece; a snapshot. */
export function allDigests(catalog: Catalog): Digest[] {
  return [...catalog.entries()].map(({ digest }) => digest);
}

/**
 * The one blob whose digest is, or begins with, `text`.
 * @param text `sha256:…`, or the hex alone, of at least {@link MIN_PREFIX_DIGITS} digits.
 * @throws DamselflyError `digest-unclear` for what is no digest or fits several, `blob-unknown`.
 */
export function findBlob(catalog: Catalog, text: string): Digest {
  const exact = parseDigest(text);
  if (exact !== null) {
    if (catalog.find(exact) !== undefined) return exact;
    throw unknownBlob(text);
  }
  const hex = /^(?:[a-z0-9]+:)?([0-9a-f]+)$/.exec(text)?.[1] ?? '';
  if (hex.length < MIN_PREFIX_DIGITS) {
    throw new DamselflyError(
      'digest-unclear',
      `${JSON.stringify(text.slice(0, 100))} is no digest: write sha256:… or the first ${MIN_PREFIX_DIGITS} or more of its hex digits`,
    );
  }
  const matches = prefixTest(text);
  let found: Digest | undefined;
  for (const { digest } of catalog.entries()) {
    if (!matches(digest)) continue;
    if (found !== undefined) {
      throw new DamselflyError(
        'digest-unclear',
        `${text} is the beginning of several digests: write more of it`,
      );
    }
    found = digest;
  }
  if (found === undefined) throw unknownBlob(text);
  return found;
}

function unknownBlob(text: string): DamselflyError {
  return new DamselflyError(
    'blob-unknown',
    `This cache has no blob ${text}: "damselfly blobs" lists what it has`,
  );
}

function prefixTest(prefix: string | undefined): (digest: Digest) => boolean {
  if (prefix === undefined || prefix === '') return () => true;
  return prefix.includes(':')
    ? (digest) => digest.startsWith(prefix)
    : (digest) => digestHex(digest).startsWith(prefix);
}

function storedBlob(entry: BlobEntry): StoredBlob {
  return {
    digest: entry.digest,
    size: entry.info.size,
    mediaType: entry.info.mediaType,
    pieces: { present: entry.presentPieces, total: pieceCount(entry.info.size) },
    diskBytes: diskBytesOf(entry),
    proven: entry.proven,
    lastReadMs: lastReadMs(entry),
  };
}

export function diskBytesOf(entry: BlobEntry): number {
  let bytes = 0;
  for (const segment of entry.segments.values()) bytes += segment.chargedBytes;
  return bytes;
}

function lastReadMs(entry: BlobEntry): number {
  let last = 0;
  for (const segment of entry.segments.values()) last = Math.max(last, segment.usedAtMs);
  return Math.round(last);
}

/** Newest first; the digest decides between equals, so that pages meet without a gap. */
function byPlace(a: Place, b: Place): number {
  if (a.lastReadMs !== b.lastReadMs) return b.lastReadMs - a.lastReadMs;
  return a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0;
}

function writePlace({ lastReadMs, digest }: Place): string {
  return `${lastReadMs}-${digest}`;
}

function readPlace(text: string): Place {
  const [, ms = '', name = ''] = /^(\d{1,15})-(.+)$/.exec(text) ?? [];
  const digest = parseDigest(name);
  if (digest === null) {
    throw new DamselflyError('request-malformed', '"after" is not the "next" of an earlier page');
  }
  return { lastReadMs: Number(ms), digest };
}
