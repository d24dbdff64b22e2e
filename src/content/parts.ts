import type { Digest } from '../blob/digest.ts';
import type { BlobCatalog, BlobInfo, KnownBlob, PieceSink, PieceSource, SourceName } from '../blob/source.ts';
import type { Upstream } from '../blob/upstream.ts';
import type { UrgencyLevel } from '../blob/urgency.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { PieceBufferPool } from './piece-buffers.ts';
import type { Reach } from './run-plan.ts';

/** The memory tier: a source that content also fills. */
export interface MemoryTier extends PieceSource {
  /** What it may hold; 0: it takes nothing. */
  readonly maxBytes: number;
  /** Whether a read of the piece would find it here. It does not count as a use. */
  hasPiece(digest: Digest, piece: number): boolean;
  /** Whether any piece of the blob is here. */
  hasAny(digest: Digest): boolean;
  /**
   * Offers a whole, verified piece; its bytes must not change afterwards. The tier takes small blobs and what it
   * wants to; `forced`: the piece has no other place on this node.
   */
  admit(
    digest: Digest,
    info: BlobInfo,
    piece: number,
    bytes: Uint8Array,
    options?: { forced?: boolean },
  ): boolean;
}

export interface ContentParts {
  readonly memory: MemoryTier;
  readonly disk: PieceSource;
  /** Nearest first: peers, a Dragonfly upstream, the origin. */
  readonly far: readonly PieceSource[];
  readonly sink: PieceSink;
  readonly catalog: BlobCatalog;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** What `X-Dragonfly-Prefetch: true` may start. */
  readonly prefetch: 'off' | 'bounded' | 'whole';
  /** How a read on this upstream's behalf goes out now; default: alone. Asked again for every piece. */
  readonly reach?: ((upstream: Upstream) => Reach) | undefined;
  /** Where verified pieces come from and go back to; default: a pool of content's own. */
  readonly buffers?: PieceBufferPool | undefined;
  /**
   * The bytes of a blob do not match its digest, or an origin contradicted its unproven size. Called before its pieces
   * are dropped, so that whoever vouched for them can still be looked up.
   */
  readonly doubted?: ((blob: KnownBlob) => void) | undefined;
}

/** One read on somebody's behalf; its rights are checked already. */
export interface ReadContext {
  readonly upstream: Upstream;
  readonly urgency: UrgencyLevel;
  readonly signal: AbortSignal;
  /** Called before a chunk is handed out: where it came from, and its bytes. */
  readonly onChunk?: ((source: SourceName, bytes: number) => void) | undefined;
}

/** How a read wants its bytes. */
export interface ReadShape {
  /** A rangeless read of all: the last piece is held back until the whole digest has matched. */
  readonly whole: boolean;
  /** The client may hang up long before the end. */
  readonly open: boolean;
}

/** What of a blob is wanted before its size is known. */
export interface WantedBytes {
  readonly start: number;
  /** Exclusive; undefined for a read to the end. */
  readonly end: number | undefined;
}
