import { LRUCache } from 'lru-cache';
import { type Digest, parseDigest } from '../blob/digest.ts';
import type { OriginId } from '../blob/upstream.ts';
import type { FactTable } from '../store/facts.ts';

/** Digests whose owners are remembered; a forgotten one is asked for again. */
const MAX_BLOBS = 100_000;

/** What an origin is to a blob that may be on this node. */
export type Standing =
  /** Its bytes are the ones that are here, or it has shown that it has the same. */
  | 'owner'
  /** Nothing of it is here: whoever reads it first becomes its owner. */
  | 'free'
  /** It came from elsewhere. This origin's word is good neither for its bytes nor for who may read them. */
  | 'foreign';

/**
 * Which origins a blob came from. The cache is by digest, and clients may name any origin: so one origin's yes must not
 * give away what came from another, and one origin's lies under a digest must not be read from another.
 */
export class BlobOwners {
  readonly #facts: FactTable;
  readonly #owners: LRUCache<Digest, Set<OriginId>>;

  constructor(facts: FactTable) {
    this.#facts = facts;
    this.#owners = new LRUCache({
      max: MAX_BLOBS,
      dispose: (origins, digest, reason) => {
        if (reason === 'evict') for (const origin of origins) facts.remove('owner', keyOf(digest, origin));
      },
    });
    for (const { key } of facts.load('owner')) {
      const [digestText = '', origin] = key.split(' ');
      const digest = parseDigest(digestText);
      if (digest !== null && origin !== undefined) this.#remember(digest, origin as OriginId);
    }
  }

  /** @param isHere something of the blob is on this node, or on its way here. */
  standing(origin: OriginId, digest: Digest, isHere: boolean): Standing {
    if (!isHere) return 'free';
    return this.#owners.get(digest)?.has(origin) === true ? 'owner' : 'foreign';
  }

  /** Origins that have shown that they have the bytes, the first being where they came from. */
  ownersOf(digest: Digest): readonly OriginId[] {
    return [...(this.#owners.peek(digest) ?? [])];
  }

  /** Nothing of the blob is here: this origin alone owns what comes now. */
  claim(origin: OriginId, digest: Digest): void {
    const before = this.#owners.get(digest);
    if (before?.size === 1 && before.has(origin)) return;
    for (const other of before ?? []) this.#facts.remove('owner', keyOf(digest, other));
    this.#owners.delete(digest);
    this.admit(origin, digest);
  }

  /** This origin has shown that it has the very bytes. */
  admit(origin: OriginId, digest: Digest): void {
    if (!this.#remember(digest, origin)) return;
    this.#facts.put('owner', {
      key: keyOf(digest, origin),
      value: '',
      expiresAtMs: Number.POSITIVE_INFINITY,
    });
  }

  #remember(digest: Digest, origin: OriginId): boolean {
    const origins = this.#owners.get(digest) ?? new Set<OriginId>();
    if (origins.has(origin)) return false;
    origins.add(origin);
    this.#owners.set(digest, origins);
    return true;
  }
}

function keyOf(digest: Digest, origin: OriginId): string {
  return `${digest} ${origin}`;
}
