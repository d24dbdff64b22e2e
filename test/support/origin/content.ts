import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import type { Span } from '../../../src/blob/span.ts';

/** Bytes per step when a content is streamed. */
export const STEP_BYTES = 256 * 1024;

/** Bytes of a blob that can be read anywhere, without the whole being in memory. */
export interface Content {
  readonly size: number;
  readonly digest: Digest;
  /** The bytes of `span`, which lies inside the content; callers ask for at most a few hundred KiB at once. */
  read(span: Span): Uint8Array | Promise<Uint8Array>;
  close(): Promise<void>;
}

export function memoryContent(bytes: Uint8Array): Content {
  return {
    size: bytes.length,
    digest: digestOf(bytes),
    read: (span) => bytes.subarray(span.start, span.end),
    close: async () => undefined,
  };
}

const CIPHER_BLOCK = 16;
const ZEROS = new Uint8Array(STEP_BYTES);

/**
 * The bytes of `span` of an endless pseudo-random stream named by `seed`: AES-128-CTR over zeros, so that any place
 * costs the same, nothing compresses and no two blocks are equal.
 */
export function seededBytes(seed: number | string, span: Span): Buffer {
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, CIPHER_BLOCK);
  const counter = Buffer.alloc(CIPHER_BLOCK);
  counter.writeBigUInt64BE(BigInt(Math.floor(span.start / CIPHER_BLOCK)), 8);
  const lead = span.start % CIPHER_BLOCK;
  const wanted = lead + span.end - span.start;
  const cipher = createCipheriv('aes-128-ctr', key, counter);
  if (wanted <= ZEROS.length) return cipher.update(ZEROS.subarray(0, wanted)).subarray(lead);
  return cipher.update(new Uint8Array(wanted)).subarray(lead);
}

const seededDigests = new Map<string, Digest>();

/** sha256 of the first `size` bytes of a seeded stream; remembered, since tests use the same few again and again. */
export function seededDigest(seed: number | string, size: number): Digest {
  const name = `${typeof seed}:${seed}:${size}`;
  const known = seededDigests.get(name);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  for (let start = 0; start < size; start += STEP_BYTES) {
    hash.update(seededBytes(seed, { start, end: Math.min(start + STEP_BYTES, size) }));
  }
  const digest = `sha256:${hash.digest('hex')}` as Digest;
  seededDigests.set(name, digest);
  return digest;
}

export function seededContent(size: number, seed: number | string): Content {
  return {
    size,
    digest: seededDigest(seed, size),
    read: (span) => seededBytes(seed, span),
    close: async () => undefined,
  };
}

export async function fileDigest(path: string): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: STEP_BYTES })) hash.update(chunk);
  return `sha256:${hash.digest('hex')}` as Digest;
}

/** A blob in a file; the file is opened at the first read and must not change. */
export function fileContent(path: string, digest: Digest): Content {
  let handle: Promise<FileHandle> | undefined;
  return {
    size: statSync(path).size,
    digest,
    async read(span) {
      handle ??= open(path, 'r');
      const bytes = Buffer.allocUnsafe(span.end - span.start);
      const { bytesRead } = await (await handle).read(bytes, 0, bytes.length, span.start);
      if (bytesRead !== bytes.length) throw new Error(`${path} became shorter`);
      return bytes;
    },
    async close() {
      const opened = handle;
      handle = undefined;
      if (opened !== undefined) await (await opened).close();
    },
  };
}

/** The bytes of `span` in steps, in order. */
export async function* streamContent(content: Content, span: Span): AsyncGenerator<Uint8Array> {
  for (let start = span.start; start < span.end; start += STEP_BYTES) {
    yield await content.read({ start, end: Math.min(start + STEP_BYTES, span.end) });
  }
}
