import type { Digest } from '../src/blob/digest.ts';
import type { KnownBlob } from '../src/blob/source.ts';
import type { Realm } from './messages.ts';
import type { PieceMask } from './piece-mask.ts';

/** A whole piece that this node lends to a peer: verified against the digest that the store keeps. */
export interface LentPiece {
  readonly bytes: Buffer;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
  /** Exactly once; the bytes are not to be touched afterwards. */
  release(): void;
}

/** What of this node's blobs the swarm may see. Implemented over the store; wired in daemon.ts. */
export interface Shelf {
  /** Realms of the origins that it came from and that share (`origins[].share`); none: nobody may have it. */
  realmsOf(digest: Digest): readonly Realm[];
  /** Bytes; undefined when nothing is known of the blob. */
  sizeOf(digest: Digest): number | undefined;
  has(digest: Digest, piece: number): boolean;
  /** 32 bytes; undefined when the piece is not here. */
  sha256Of(digest: Digest, piece: number): Uint8Array | undefined;
  isProven(digest: Digest): boolean;
  /** Verified and from memory or disk; null when it is not here (any more), or the disk is in trouble. */
  lend(blob: KnownBlob, piece: number, signal: AbortSignal): Promise<LentPiece | null>;
  /** Everything that is here, most recently read first, by segment. */
  inventory(): Iterable<{ readonly blob: KnownBlob; readonly segments: ReadonlyMap<number, PieceMask> }>;
  /** Takes a piece off the node that is not believed any more. */
  drop(digest: Digest, piece: number): void;
}
