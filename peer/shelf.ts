import type { KnownBlob } from '../src/blob/source.ts';
import type { Realm } from './messages.ts';

/** A whole piece that this node lends to a peer: verified against the digest that the store keeps. */
export interface LentPiece {
  readonly bytes: Buffer;
  /** 32 bytes. */
  readonly sha256: Uint8Array;
  /** Exactly once; the bytes are not to be touched afterwards. */
  release(): void;
}

/** What of this node's blobs the swarm may see. Implemented over store and content; wired in daemon.ts. */
export interface Shelf {
  /** Realms of the origins that it came from and that share (`origins[].share`); none: nobody may have it. */
  realmsOf(digest: KnownBlob['digest']): readonly Realm[];
  /** Bytes; undefined when nothing is known of the blob. */
  sizeOf(digest: KnownBlob['digest']): number | undefined;
  has(digest: KnownBlob['digest'], piece: number): boolean;
  isProven(digest: KnownBlob['digest']): boolean;
  /** Verified and from memory or disk; null when it is not here (any more). */
  lend(blob: KnownBlob, piece: number, signal: AbortSignal): Promise<LentPiece | null>;
  /** Every shared blob, most recently read first, with the pieces that are here. */
  inventory(): Iterable<{ readonly blob: KnownBlob; readonly pieces: readonly number[] }>;
}
