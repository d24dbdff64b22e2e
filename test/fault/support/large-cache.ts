import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import {
  PIECE_BYTES,
  pieceCount,
  pieceSpan,
  SEGMENT_BYTES,
  SEGMENT_PIECES,
} from '../../../src/blob/piece.ts';
import { IndexDatabase } from '../../../src/store/index-database.ts';
import { EMPTY_BATCH } from '../../../src/store/index-load.ts';
import type { SegmentRow } from '../../../src/store/index-protocol.ts';
import { segmentFileName } from '../../../src/store/layout.ts';
import { seededBytes } from '../../support/origin.ts';

const BLOCK = Buffer.alloc(4096, 1);

export interface LargeCache {
  readonly segments: number;
  readonly blobs: number;
  /** Of `blobs`, all but the last: full in the index, and with one block of rubbish in each of their files. */
  readonly digests: readonly Digest[];
}

/**
 * Makes a cache directory whose index speaks of many full segments. Their files have the right length and next to no
 * bytes, but for one blob, the most recently used, which is really there.
 */
export function makeLargeCache(
  dir: string,
  wanted: {
    readonly segments: number;
    readonly blobs: number;
    readonly real: { seed: string; size: number };
  },
): LargeCache {
  mkdirSync(join(dir, 'segments'), { recursive: true });
  const { segments, blobs, real } = wanted;
  const digests = Array.from({ length: blobs - 1 }, (_, n) => digestOf(Buffer.from(`large ${n}`)));
  const rows: SegmentRow[] = [];
  const nowMs = Date.now();
  for (let n = 0; n < segments; n += 1) {
    const blob = n % digests.length;
    const segment = Math.floor(n / digests.length);
    const file = segmentFileName(digests[blob] ?? missing(), segment, `old-${n}`);
    const fd = openSync(join(dir, 'segments', file), 'wx');
    writeSync(fd, BLOCK);
    ftruncateSync(fd, SEGMENT_BYTES);
    closeSync(fd);
    const digestsOfPieces = new Uint8Array(SEGMENT_PIECES * 32).fill(n & 0xff);
    const usedAtMs = nowMs - 3_600_000 + n;
    rows.push({ blobId: 1 + blob, segment, file, present: 0xffff, usedAtMs, digests: digestsOfPieces });
  }
  const sizes = digests.map((_, n) => Math.ceil((segments - n) / digests.length) * SEGMENT_BYTES);
  const { digest, row } = realSegment(dir, real, { blobId: blobs, usedAtMs: nowMs });
  const database = new IndexDatabase({ dir, maxBatchRows: 256, maxFactsPerKind: 100 });
  try {
    const all = [...digests, digest].map((name, n) => ({
      id: 1 + n,
      digest: name,
      size: sizes[n] ?? real.size,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      proven: true,
    }));
    database.apply({ ...EMPTY_BATCH, blobs: all, segments: [...rows, row] });
  } finally {
    database.close();
  }
  return { segments: segments + 1, blobs, digests };
}

function realSegment(
  dir: string,
  { seed, size }: { seed: string; size: number },
  rest: { blobId: number; usedAtMs: number },
): { digest: Digest; row: SegmentRow } {
  if (size > SEGMENT_BYTES) throw new RangeError('one segment is enough');
  const bytes = seededBytes(seed, { start: 0, end: size });
  const digest = digestOf(bytes);
  const file = segmentFileName(digest, 0, 'real');
  const fd = openSync(join(dir, 'segments', file), 'wx');
  writeSync(fd, bytes);
  closeSync(fd);
  const count = pieceCount(size);
  const digests = Buffer.concat(
    Array.from({ length: count }, (_, piece) => {
      const { start, end } = pieceSpan(piece, size);
      return createHash('sha256').update(bytes.subarray(start, end)).digest();
    }),
  );
  if (digests.length !== Math.ceil(size / PIECE_BYTES) * 32) throw new RangeError('a digest for each piece');
  return {
    digest,
    row: { ...rest, segment: 0, file, present: 2 ** count - 1, digests: new Uint8Array(digests) },
  };
}

function missing(): never {
  throw new RangeError('no blob for this segment');
}
