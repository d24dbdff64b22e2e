import type { Digest } from '../../src/blob/digest.ts';
import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { PeerId } from '../member.ts';
import type { PieceMark, Realm } from '../messages.ts';
import type { Voucher } from '../voucher.ts';
import type { Claims } from './claims.ts';
import type { Distrust, Weight } from './distrust.ts';
import { type Evidence, valuesOf } from './judge.ts';
import type { ProvenLists } from './proven-lists.ts';
import type { Standing } from './standing.ts';
import type { Notary, PieceFact } from './statement.ts';
import type { VoucherBook } from './voucher-book.ts';

/** A piece, whatever it hashes to. */
export type PieceName = Omit<PieceFact, 'sha256'>;

export interface TestimonyParts {
  readonly notary: Notary;
  readonly claims: Claims;
  readonly proofs: ProvenLists;
  readonly book: VoucherBook;
  readonly standing: Standing;
  readonly distrust: Distrust;
}

/**
 * All that speaks for or against a piece, put together: proofs, what this node read or got, and the words of those members
 * that are heard. It only looks; what follows is `Trust`'s.
 */
export class Testimony {
  readonly #parts: TestimonyParts;

  constructor(parts: TestimonyParts) {
    this.#parts = parts;
  }

  /** Whether a member's word on a blob is as good as anybody's. */
  weight(realm: Realm, digest: Digest, by: PeerId): Weight {
    const { notary, standing, distrust } = this.#parts;
    if (by === notary.self) return 'counts';
    return standing.isQuarantined(by) ? 'ignored' : distrust.weight(realm, digest, by);
  }

  /** What the piece hashes to in a blob that was proven here: 32 bytes. */
  proofOf({ realm, digest, size, piece }: PieceName): Uint8Array | undefined {
    const { proofs, book } = this.#parts;
    const proof = proofs.sha256Of({ digest, size }, piece);
    if (proof !== undefined) return proof;
    const record = book.recordOf(realm, { digest, size }, piece);
    return record?.source === 'proof' ? record.sha256 : undefined;
  }

  of(name: PieceName): Evidence {
    const { realm, digest, size, piece } = name;
    const record = this.#parts.book.recordOf(realm, { digest, size }, piece);
    const claims = this.#parts.claims.of(name);
    if (record?.source === 'peer' && record.sha256 !== undefined)
      claims.push({ fact: { realm, digest, size, piece, sha256: record.sha256 }, voucher: record.voucher });
    return {
      proof: this.proofOf(name),
      own: record?.source === 'origin' ? record.sha256 : undefined,
      isCrowded: this.#parts.claims.isCrowded(name),
      claims: claims.filter(({ voucher }) => this.weight(realm, digest, voucher.by) !== 'ignored'),
      counts: (by) => this.weight(realm, digest, by) === 'counts',
    };
  }

  /** What is known to be right: proven here, or by a member whose word counts and that nobody contradicts. */
  provenMark(name: PieceName): PieceMark | undefined {
    const proof = this.proofOf(name);
    if (proof !== undefined) return this.ownMark({ ...name, sha256: proof });
    const { claims, counts, isCrowded } = this.of(name);
    if (isCrowded || valuesOf(claims, 'proven').length !== 1) return undefined;
    const known = claims.find(({ voucher }) => voucher.kind === 'proven' && counts(voucher.by));
    return known === undefined ? undefined : markOf(known.fact, known.voucher);
  }

  /** @param fact that was proven here. */
  ownMark(fact: PieceFact): PieceMark {
    return markOf(fact, this.#parts.notary.vouch('proven', fact));
  }
}

export function markOf({ piece, sha256 }: PieceFact, voucher: Voucher): PieceMark {
  return { slot: piece % SEGMENT_PIECES, sha256, voucher };
}
