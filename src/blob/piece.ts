import type { Span } from './span.ts';

/** The unit of presence, verification and transfer. */
export const PIECE_BYTES = 1 << 20;
/** A segment is this many consecutive pieces: the unit of storage, eviction and planning. */
export const SEGMENT_PIECES = 16;
export const SEGMENT_BYTES = PIECE_BYTES * SEGMENT_PIECES;

export function pieceAt(offset: number): number {
  return Math.floor(offset / PIECE_BYTES);
}

export function pieceCount(blobSize: number): number {
  return Math.ceil(blobSize / PIECE_BYTES);
}

/** Where piece `index` lies in a blob of `blobSize` bytes; the last piece is shorter. */
export function pieceSpan(index: number, blobSize: number): Span {
  const start = index * PIECE_BYTES;
  return { start, end: Math.min(start + PIECE_BYTES, blobSize) };
}

export function pieceLength(index: number, blobSize: number): number {
  return Math.min(PIECE_BYTES, blobSize - index * PIECE_BYTES);
}

export function segmentOfPiece(piece: number): number {
  return Math.floor(piece / SEGMENT_PIECES);
}

export function segmentCount(blobSize: number): number {
  return Math.ceil(blobSize / SEGMENT_BYTES);
}

/** Pieces [first, end) of one blob. */
export interface PieceRun {
  readonly first: number;
  readonly end: number;
}
