import { LRUCache } from 'lru-cache';
import type { Digest } from '../blob/digest.ts';
import type { ArrivingPiece } from './arriving-piece.ts';

/** Whatever a reach says. */
const MAX_PIECES = 256;
/** Nobody wants it again so soon after: an idle node does not hold what a busy one wants. */
const KEPT_MS = 5_000;

/**
 * Pieces that were stored a moment ago, in the buffers that they arrived in. While a segment's file is being written no
 * piece of it can be trusted without a read and a hash (store/verifier.ts). In a swarm each piece is wanted twice at least just
 * then: by the reader whose window it came ahead in, and by a peer. Reading it back cost more than getting it had.
 */
export class FreshPieces {
  readonly #pieces = new LRUCache<string, ArrivingPiece>({
    max: MAX_PIECES,
    ttl: KEPT_MS,
    ttlAutopurge: true,
    dispose: (piece) => piece.letGo(),
  });

  /**
   * The piece is complete, right, and in the store.
   * @param maxPieces the oldest beyond it go.
   */
  add(digest: Digest, piece: ArrivingPiece, maxPieces: number): void {
    this.remove(digest, piece.index);
    piece.hold();
    this.#pieces.set(keyOf(digest, piece.index), piece);
    while (this.#pieces.size > maxPieces) this.#pieces.pop();
  }

  /** Its buffer may be used again as soon as this turn of the loop is over: hold it before. */
  get(digest: Digest, index: number): ArrivingPiece | undefined {
    return this.#pieces.get(keyOf(digest, index));
  }

  remove(digest: Digest, index: number): void {
    this.#pieces.delete(keyOf(digest, index));
  }

  clear(): void {
    this.#pieces.clear();
  }
}

function keyOf(digest: Digest, index: number): string {
  return `${digest}/${index}`;
}
