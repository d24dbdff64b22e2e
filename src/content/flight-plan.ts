import type { PieceRun } from '../blob/piece.ts';
import type { BlobAddress, BlobInfo, PieceSource, SourceName } from '../blob/source.ts';
import type { Upstream } from '../blob/upstream.ts';
import type { UrgencyLevel } from '../blob/urgency.ts';
import type { ArrivingPiece } from './arriving-piece.ts';
import type { Backlog } from './backlog.ts';
import type { PieceBufferPool } from './piece-buffers.ts';

/** What a flight knows once its first answer has come. */
export interface FlightHead {
  readonly info: BlobInfo;
  readonly source: SourceName;
}

export interface FlightParts {
  /** Far sources, nearest first. */
  readonly sources: readonly PieceSource[];
  readonly buffers: PieceBufferPool;
  /** Completed pieces of all flights that are on their way to the disk. */
  readonly backlog: Backlog;
  /** Takes a completed piece: keeps it, or not. Settles when its bytes are no longer needed by the flight. */
  settle(piece: ArrivingPiece, info: BlobInfo, source: SourceName): Promise<'stored' | 'declined'>;
  /** Called once, when the size is known. @throws when it contradicts what is known. */
  learn(info: BlobInfo): void;
  /** The origin does not know ranges: each request for this blob brings all of it. */
  ignoresRange(): void;
  /** The flight no longer delivers this piece: it is settled, cut off, past the end, or failed. */
  release(piece: number): void;
  /** True when a piece that was not planned may be taken along (an origin that ignores Range sends everything). */
  adopt(piece: number): boolean;
  /** With whose credentials this blob is being read on this node now. */
  readers(): Iterable<Upstream>;
}

export interface FlightPlan {
  readonly blob: BlobAddress;
  readonly run: PieceRun;
  /** Blob offset, in the run's first piece, that is wanted first. */
  readonly wantedOffset: number;
  /** Blob offset past which nothing is fetched, and nothing before `wantedOffset`; undefined: whole pieces. */
  readonly exactEnd: number | undefined;
  readonly upstream: Upstream;
  readonly urgency: UrgencyLevel;
  /** Its first answer is the opener's own rights check: it is asked for as one. */
  readonly isCheck: boolean;
}
