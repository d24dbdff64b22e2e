import type { Awaited } from './awaited.ts';
import type { Digest } from './digest.ts';
import type { Span } from './span.ts';
import type { Upstream } from './upstream.ts';
import type { Urgency } from './urgency.ts';

/** Where bytes came from. The same words in `X-Damselfly-Source`, metrics and logs. */
export type SourceName = 'memory' | 'disk' | 'peer' | 'dragonfly' | 'origin';

/** What is known of a blob besides its bytes. */
export interface BlobInfo {
  /** Bytes. */
  readonly size: number;
  /** As the origin sent it; undefined when it never said. */
  readonly mediaType: string | undefined;
}

export interface BlobAddress {
  readonly digest: Digest;
  /** Bytes; undefined until the origin or the index told it. */
  readonly size: number | undefined;
}

/**
 * Bytes of a verified piece in an open file, for sendfile(2). The fd stays open and its bytes stay in place (eviction
 * is by unlink) until `release`, which must be called exactly once.
 */
export interface FileSlice {
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
  release(): void;
}

/** Bytes on their way to a client: in memory, or still in a file. A Uint8Array is read-only to whoever gets it. */
export type Chunk = Uint8Array | FileSlice;

export function isFileSlice(chunk: Chunk): chunk is FileSlice {
  return !(chunk instanceof Uint8Array);
}

export function chunkLength(chunk: Chunk): number {
  return chunk.length;
}

export interface OpenOptions {
  readonly signal: AbortSignal;
  /** On-demand before prefetch; may be raised while the open is queued. */
  readonly urgency: Urgency;
  /** Undefined: from the start. Until it is so, a source may take longer than a client would wait. */
  readonly awaited?: Awaited | undefined;
  /** Where and as whom the origin may be asked. Sources on the node ignore it. */
  readonly upstream: Upstream;
  /**
   * The answer decides whether this upstream's credential may read the blob at all: it has to be the origin's own word on
   * it. What is remembered of others' reads (a signed URL) must not stand in for it.
   */
  readonly isCheck?: boolean | undefined;
}

/**
 * A whole piece whose bytes have matched the digest that somebody vouched for. Its buffer is the reader's now, who gives
 * it to the node's pool or keeps it: `close` of the read that brought it leaves it alone.
 */
export interface VerifiedPiece {
  readonly index: number;
  readonly bytes: Buffer;
  /** 32 bytes. */
  readonly sha256: Buffer;
}

export interface OpenedRead {
  readonly info: BlobInfo;
  /** Whose bytes these are, when the source that was asked passed the read on; undefined: its own. */
  readonly source?: SourceName | undefined;
  /**
   * Set when all that this read delivers is one piece that is here already: the one of the asked start, and `span` is all
   * of it, also when the asked span begins in its middle. It may be taken in place of `chunks`.
   */
  readonly verified?: VerifiedPiece | undefined;
  /**
   * What `chunks` will deliver. It may end before the asked span does (a near source gives what it has in one go, and
   * the origin clips at the blob's end), and an origin that ignores Range starts at 0; it always has the asked start in it.
   */
  readonly span: Span;
  /**
   * The bytes of `span` in order: exactly its length, or a throw. Leaving the loop early (`return()`) frees
   * connections and file handles; an opened read that is never iterated must be given back by `close`.
   */
  readonly chunks: AsyncIterable<Chunk>;
  close(): void;
}

/**
 * One place that may have a blob's bytes. Implemented by memory, disk, origin (and later peers and a Dragonfly
 * upstream); test/conformance/piece-source.ts holds them all to the same rules:
 *  - `open` answers null when the source does not have the byte at `span.start`; it throws only for trouble;
 *  - a span that starts at or past the blob's end is refused with RangeError code `range-not-satisfiable`;
 *  - bytes are right or a throw: a short or corrupt read is never delivered as if it were whole;
 *  - `signal` ends an open and an iteration promptly, and nothing stays open behind it.
 * Near sources answer synchronously where no disk is touched, so that a hit costs no extra turn of the loop.
 */
export interface PieceSource {
  readonly name: SourceName;
  open(blob: BlobAddress, span: Span, options: OpenOptions): OpenedRead | null | Promise<OpenedRead | null>;
}

/** Where completed pieces are kept. A full, slow or broken disk is a 'declined', never a throw. */
export interface PieceSink {
  /**
   * @param bytes the whole piece; stays the caller's, and unchanged, until the promise settles.
   * @param sha256 of these bytes, 32 bytes, computed before they could have been damaged on the way to the disk.
   */
  put(blob: KnownBlob, piece: number, bytes: Uint8Array, sha256: Uint8Array): Promise<'stored' | 'declined'>;
}

export interface KnownBlob {
  readonly digest: Digest;
  readonly size: number;
}

/** The synchronous view of what is on this node: all from memory, no disk is touched. */
export interface BlobCatalog {
  describe(digest: Digest): BlobInfo | undefined;
  /** Remembers size and media type; the first word stands, a later other size is refused (returns false). */
  record(digest: Digest, info: BlobInfo): boolean;
  hasPiece(digest: Digest, piece: number): boolean;
  /** True when at least one piece is here. */
  hasAny(digest: Digest): boolean;
  /** True when every piece is here. */
  isComplete(digest: Digest): boolean;
  /** True once the whole bytes have matched the digest. */
  isProven(digest: Digest): boolean;
  /** Counts only while every piece is here or being written: what is read again later has yet to be checked. */
  markProven(digest: Digest): void;
  /** Forgets every piece of a blob whose whole bytes did not match, and what was recorded of it. */
  drop(digest: Digest): void;
}
