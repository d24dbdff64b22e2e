import { LRUCache } from 'lru-cache';
import type { PeerId } from '../member.ts';
import type { Realm } from '../messages.ts';
import type { Claim } from './claims.ts';
import type { Distrust } from './distrust.ts';
import type { Standing } from './standing.ts';
import { placeOf, type TrustEvents } from './trust-events.ts';

/** Accusations that were made already. */
const MAX_ACCUSED = 4_096;

export interface AccusationParts {
  /** This node. */
  readonly self: PeerId;
  readonly standing: Standing;
  readonly distrust: Distrust;
  /** Whether the operator has named the origin of this realm. */
  readonly isListed: (realm: Realm) => boolean;
  readonly events: Pick<TrustEvents, 'accuse'>;
}

/** What becomes of a member whose signed word this node has seen to be wrong; each such word is told to others once. */
export class Accusations {
  readonly #parts: AccusationParts;
  readonly #made = new LRUCache<string, true>({ max: MAX_ACCUSED });

  constructor(parts: AccusationParts) {
    this.#parts = parts;
  }

  /** Signed, and not what this node has proven or read from the origin. (This node may have been wrong itself.) */
  caught(claim: Claim): void {
    const { self, standing, distrust, isListed } = this.#parts;
    const { fact, voucher } = claim;
    if (voucher.by !== self) {
      if (voucher.kind === 'proven' || isListed(fact.realm)) standing.note(voucher.by, 'lied');
      else distrust.caught(fact.realm, voucher.by);
    }
    this.#accuse(claim);
  }

  /** A blob has one list: nobody who told the truth has proven two of one piece. */
  contradictsItself(claim: Claim): void {
    this.#parts.standing.note(claim.voucher.by, 'lied');
    this.#accuse(claim);
  }

  #accuse({ fact, voucher }: Claim): void {
    const key = `${fact.realm} ${fact.digest} ${fact.piece} ${voucher.by}`;
    if (this.#made.has(key)) return;
    this.#made.set(key, true);
    this.#parts.events.accuse(placeOf(fact), voucher.by);
  }
}
