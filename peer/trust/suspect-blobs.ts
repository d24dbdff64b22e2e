import { LRUCache } from 'lru-cache';
import type { Digest } from '../../src/blob/digest.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { PeerId } from '../member.ts';
import type { Voucher } from '../voucher.ts';
import type { Claim } from './claims.ts';
import { type PieceFact, sameBytes } from './statement.ts';

/** A blob that nobody reads again is forgotten; until then nobody is named. */
const SUSPECT_MS = 3_600_000;
const MAX_BLOBS = 64;
/** Of one failed attempt, 32 GiB: some MiB of memory. */
const MAX_PIECES = 32_768;

interface Suspect {
  readonly size: number;
  /** Whoever vouched for a piece of an attempt that did not match. */
  readonly involved: Set<PeerId>;
  /** What was vouched for in all of them, by piece. */
  readonly vouched: Map<number, Claim[]>;
  attempts: number;
}

/**
 * Blobs whose bytes were all here and did not match their digest. Some piece is wrong, and none says which: so nobody is named
 * yet. Until the blob is proven its pieces are taken from the origin, or on the proven word of a member that had no part in
 * it; each piece that then turns out to be another than before names the one who vouched for it.
 */
export class SuspectBlobs {
  readonly #now: () => number;
  readonly #blobs: LRUCache<Digest, { suspect: Suspect; untilMs: number }>;

  constructor(now: () => number) {
    this.#now = now;
    this.#blobs = new LRUCache({ max: MAX_BLOBS });
  }

  /**
   * The whole blob did not match.
   * @param vouched what others vouched for of it; pieces that this node read from the origin itself are not in it.
   */
  mismatched({ digest, size }: KnownBlob, vouched: readonly Claim[]): void {
    const known = this.#find(digest);
    const suspect: Suspect =
      known?.size === size ? known : { size, involved: new Set(), vouched: new Map(), attempts: 0 };
    suspect.attempts += 1;
    for (const claim of vouched.slice(0, MAX_PIECES)) {
      suspect.involved.add(claim.voucher.by);
      suspect.vouched.set(claim.fact.piece, [...(suspect.vouched.get(claim.fact.piece) ?? []), claim]);
    }
    this.#blobs.set(digest, { suspect, untilMs: this.#now() + SUSPECT_MS });
  }

  isSuspect(digest: Digest): boolean {
    return this.#find(digest) !== undefined;
  }

  /** Whether a piece of the blob may be taken from a peer on this word. After a second failure no word is good enough. */
  mayTake(digest: Digest, { kind, by }: Voucher): boolean {
    const suspect = this.#find(digest);
    return (
      suspect === undefined || (suspect.attempts === 1 && kind === 'proven' && !suspect.involved.has(by))
    );
  }

  /** The origin's own bytes of a piece. @returns what was vouched for and is something else, each once. */
  readFromOrigin(fact: PieceFact): Claim[] {
    const suspect = this.#find(fact.digest);
    const claims = suspect?.vouched.get(fact.piece) ?? [];
    const wrong = claims.filter((claim) => claim.fact.realm === fact.realm && isOther(claim, fact.sha256));
    if (wrong.length > 0)
      suspect?.vouched.set(
        fact.piece,
        claims.filter((claim) => !wrong.includes(claim)),
      );
    return wrong;
  }

  /** The blob is proven here: it is suspect no more. @returns what was vouched for and is something else. */
  proven({ digest, size }: KnownBlob, sha256Of: (piece: number) => Uint8Array | undefined): Claim[] {
    const suspect = this.#find(digest);
    this.#blobs.delete(digest);
    if (suspect?.size !== size) return [];
    return [...suspect.vouched.values()].flat().filter((claim) => {
      const sha256 = sha256Of(claim.fact.piece);
      return sha256 !== undefined && isOther(claim, sha256);
    });
  }

  #find(digest: Digest): Suspect | undefined {
    const entry = this.#blobs.get(digest);
    if (entry === undefined) return undefined;
    if (entry.untilMs > this.#now()) return entry.suspect;
    this.#blobs.delete(digest);
    return undefined;
  }
}

function isOther(claim: Claim, sha256: Uint8Array): boolean {
  return !sameBytes(claim.fact.sha256, sha256);
}
