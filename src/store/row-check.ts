import { crc32 } from 'node:zlib';
import type { BlobRow, FactRow, SegmentRow } from './index-protocol.ts';

/**
 * SQLite finds damage to its own structure, not to what is in a row. A flipped bit there could give a file to another
 * blob or place, and the piece digests, which lie in the same row, would agree with it. So each row carries a checksum.
 */
export function blobCheck(row: BlobRow): number {
  return crc32(JSON.stringify([row.id, row.digest, row.size, row.mediaType, row.proven]));
}

/** Without the time of last use, which is written by itself and costs no wrong byte. */
export function segmentCheck(row: Omit<SegmentRow, 'usedAtMs'>): number {
  return crc32(row.digests, crc32(JSON.stringify([row.blobId, row.segment, row.file, row.present])));
}

export function factCheck(row: FactRow): number {
  return crc32(JSON.stringify([row.kind, row.key, row.value, row.expiresAtMs]));
}
