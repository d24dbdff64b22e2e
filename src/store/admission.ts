import { LRUCache } from 'lru-cache';

/** Why somebody offers a piece to the memory tier. */
export interface Offer {
  /** Names blob and piece. */
  readonly key: number;
  /** Bytes of the whole blob. */
  readonly blobSize: number;
  /** Bytes of the piece that were asked for. */
  readonly wantedBytes: number;
  /** No other place on this node has it: the disk declined. */
  readonly forced: boolean;
}

/** Decides what the memory tier takes. */
export interface AdmissionPolicy {
  admits(offer: Offer): boolean;
}

/** Manifests and image configurations: small, and asked for by every client. */
const SMALL_BLOB_BYTES = 64 * 1024;
/** Beyond this length sendfile from the page cache costs less than a write from memory. */
const SMALL_RANGE_BYTES = 64 * 1024;
const REMEMBERED_OFFERS = 8192;

/**
 * Forced offers and small blobs at once, small ranges at their second sight; a scan that reads each piece once leaves
 * the tier as it was.
 */
export class SecondHit implements AdmissionPolicy {
  readonly #seen = new LRUCache<number, true>({ max: REMEMBERED_OFFERS });

  admits(offer: Offer): boolean {
    if (offer.forced || offer.blobSize <= SMALL_BLOB_BYTES) return true;
    if (offer.wantedBytes > SMALL_RANGE_BYTES) return false;
    if (this.#seen.has(offer.key)) return true;
    this.#seen.set(offer.key, true);
    return false;
  }
}
