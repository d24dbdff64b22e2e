import { createHash } from 'node:crypto';
import { copyFileSync, lstatSync, mkdirSync, read, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Credential } from '../../src/blob/credential.ts';
import { type Digest, digestOf } from '../../src/blob/digest.ts';
import { PIECE_BYTES, pieceCount, pieceSpan } from '../../src/blob/piece.ts';
import {
  type BlobAddress,
  type Chunk,
  isFileSlice,
  type OpenedRead,
  type OpenOptions,
  type PieceSource,
} from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { OriginId } from '../../src/blob/upstream.ts';
import { Urgency } from '../../src/blob/urgency.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { openStore, type Store, type StoreOptions } from '../../src/store/store.ts';
import { seededBytes } from '../support/origin/content.ts';

const readAsync = promisify(read);

export interface StoredBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly bytes: Buffer;
}

export function blobOf(size: number, seed: string | number = 0): StoredBlob {
  const bytes = seededBytes(`store:${seed}:${size}`, { start: 0, end: size });
  return { digest: digestOf(bytes), size, bytes };
}

export function pieceOf(blob: StoredBlob, piece: number): Buffer {
  const { start, end } = pieceSpan(piece, blob.size);
  return blob.bytes.subarray(start, end);
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}

/** A store as production opens it, in `dir`, with what the test wants otherwise. */
export async function storeIn(
  dir: string,
  options: Partial<StoreOptions> = {},
): Promise<Store & { readonly metrics: Metrics }> {
  const metrics = options.metrics ?? new Metrics();
  const store = await openStore({
    dir,
    maxBytes: 1 << 30,
    minFreeBytes: 0,
    memoryBytes: 0,
    log: silentLogger,
    metrics,
    ...options,
  });
  return Object.assign(store, { metrics });
}

export function putPiece(store: Store, blob: StoredBlob, piece: number): Promise<'stored' | 'declined'> {
  const bytes = pieceOf(blob, piece);
  return store.sink.put({ digest: blob.digest, size: blob.size }, piece, bytes, sha256(bytes));
}

/** Puts every piece, one after the other. */
export async function putAll(store: Store, blob: StoredBlob): Promise<void> {
  for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
    const outcome = await putPiece(store, blob, piece);
    if (outcome !== 'stored') throw new Error(`piece ${piece} was ${outcome}`);
  }
}

export function openOptions(signal: AbortSignal = new AbortController().signal): OpenOptions {
  return {
    signal,
    urgency: new Urgency('demand'),
    upstream: {
      origin: 'http://origin.test' as OriginId,
      repository: 'lab/img',
      kind: 'blob',
      credential: Credential.anonymous,
    },
  };
}

export async function openSpan(
  source: PieceSource,
  blob: BlobAddress,
  span: Span,
): Promise<OpenedRead | null> {
  return await source.open({ digest: blob.digest, size: blob.size }, span, openOptions());
}

export async function bytesOf(chunk: Chunk): Promise<Buffer> {
  if (!isFileSlice(chunk)) return Buffer.from(chunk);
  try {
    const bytes = Buffer.alloc(chunk.length);
    const { bytesRead } = await readAsync(chunk.fd, bytes, 0, bytes.length, chunk.offset);
    return bytes.subarray(0, bytesRead);
  } finally {
    chunk.release();
  }
}

export async function take(opened: OpenedRead): Promise<{ bytes: Buffer; slices: number }> {
  const parts: Buffer[] = [];
  let slices = 0;
  for await (const chunk of opened.chunks) {
    if (isFileSlice(chunk)) slices += 1;
    parts.push(await bytesOf(chunk));
  }
  return { bytes: Buffer.concat(parts), slices };
}

/** The bytes of one piece as the source has them; null when it does not, and 'wrong' is for the caller to find out. */
export async function readPiece(
  source: PieceSource,
  blob: StoredBlob,
  piece: number,
): Promise<Buffer | null> {
  const opened = await openSpan(source, blob, pieceSpan(piece, blob.size));
  return opened === null ? null : (await take(opened)).bytes;
}

/** Pieces of the blob that the source has, each compared with the truth. */
export async function goodPieces(source: PieceSource, blob: StoredBlob): Promise<number[]> {
  const good: number[] = [];
  for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
    const bytes = await readPiece(source, blob, piece);
    if (bytes === null) continue;
    if (!bytes.equals(pieceOf(blob, piece))) throw new Error(`piece ${piece} was served with wrong bytes`);
    good.push(piece);
  }
  return good;
}

/** Allocated bytes of a folder and everything in it, as `du` counts. */
export function allocatedIn(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  let total = stat.blocks * 512;
  if (!stat.isDirectory()) return total;
  for (const name of readdirSync(path)) total += allocatedIn(join(path, name));
  return total;
}

/** Copies the folder of a store that runs, as a kill would leave it: a file that is unlinked meanwhile is left out. */
export function copyLive(from: string, to: string): void {
  mkdirSync(to);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyLive(source, target);
    else copyIfThere(source, target);
  }
}

function copyIfThere(from: string, to: string): void {
  try {
    copyFileSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

export function segmentFiles(dir: string): string[] {
  const path = join(dir, 'segments');
  return readdirSync(path)
    .sort()
    .map((name) => join(path, name));
}

export async function metricValue(metrics: Metrics, name: string, labels: object = {}): Promise<number> {
  const metric = (await metrics.registry.getMetricsAsJSON()).find((entry) => entry.name === name);
  const value = metric?.values.find((entry) =>
    Object.entries(labels).every(([key, wanted]) => Reflect.get(entry.labels, key) === wanted),
  );
  return value?.value ?? 0;
}

export { PIECE_BYTES };
