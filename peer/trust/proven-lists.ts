import { LRUCache } from 'lru-cache';
import type { Digest } from '../../src/blob/digest.ts';
import { pieceCount } from '../../src/blob/piece.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { Shelf } from '../shelf.ts';
import { selfProof } from './statement.ts';

const SHA256_BYTES = 32;
/** A quarter of a million pieces: 256 GiB of blobs. */
const MAX_BYTES = 8 << 20;

interface List {
  readonly size: number;
  readonly digests: Uint8Array;
}

/**
 * What the pieces of blobs hash to that have matched their digest on this node. Once true it stays true: also when pieces
 * have been evicted since, and the store no longer calls the blob proven.
 */
export class ProvenLists {
  readonly #shelf: Pick<Shelf, 'isProven' | 'sha256Of'>;
  readonly #lists: LRUCache<Digest, List>;

  constructor(shelf: Pick<Shelf, 'isProven' | 'sha256Of'>, maxBytes: number = MAX_BYTES) {
    this.#shelf = shelf;
    this.#lists = new LRUCache<Digest, List>({
      maxSize: maxBytes,
      sizeCalculation: ({ digests }) => digests.length + 1,
    });
  }

  /**
   * The blob is complete and proven here at this moment.
   * @returns false when the store does not have all of its pieces (any more): then nothing is known.
   */
  keep({ digest, size }: KnownBlob): boolean {
    const digests = new Uint8Array(pieceCount(size) * SHA256_BYTES);
    for (let piece = 0; piece < pieceCount(size); piece += 1) {
      const sha256 = this.#shelf.sha256Of(digest, piece);
      if (sha256 === undefined) return false;
      digests.set(sha256, piece * SHA256_BYTES);
    }
    this.#lists.set(digest, { size, digests });
    return true;
  }

  /** Every piece that is here now is one that was proven. */
  isWhole({ digest, size }: KnownBlob): boolean {
    return selfProof(digest, size) !== undefined || this.#shelf.isProven(digest);
  }

  has(blob: KnownBlob): boolean {
    return this.isWhole(blob) || this.#lists.get(blob.digest)?.size === blob.size;
  }

  /** 32 bytes. */
  sha256Of({ digest, size }: KnownBlob, piece: number): Uint8Array | undefined {
    const known = this.#lists.get(digest);
    if (known?.size === size && piece < pieceCount(size))
      return known.digests.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES);
    const proof = piece === 0 ? selfProof(digest, size) : undefined;
    return proof ?? (this.#shelf.isProven(digest) ? this.#shelf.sha256Of(digest, piece) : undefined);
  }

  forget(digest: Digest): void {
    this.#lists.delete(digest);
  }
}
