import type { PeerId } from '../member.ts';
import type { Claim } from './claims.ts';
import { sameBytes } from './statement.ts';

/** `peer.trust`: whether a piece of a blob that nobody has proven is taken from a peer. */
export type TrustLevel = 'attested' | 'proven';

/**
 * length: not that of the piece. signature: the voucher is not of these bytes, or not of its signer. quarantined: its
 * signer was caught. distrusted: its signer's word does not count on this blob. suspect: the blob did not match before.
 * attested: `peer.trust` is proven. contradicts-proof: this node has proven otherwise. contradicts-proven: another
 * member has. contradicts-origin: this node read it otherwise. contested: members disagree, and neither is believed.
 */
export type Refusal =
  | 'length'
  | 'signature'
  | 'quarantined'
  | 'distrusted'
  | 'suspect'
  | 'attested'
  | 'contradicts-proof'
  | 'contradicts-proven'
  | 'contradicts-origin'
  | 'contested';

export type Verdict =
  | { readonly taken: true; readonly as: 'proven' | 'attested' }
  /** Where to turn next: to another holder, or to the origin since no peer's bytes will do. */
  | { readonly taken: false; readonly why: Refusal; readonly next: 'holder' | 'origin' };

/**
 * What this node knows of one piece. Claims are those of all members but liars, signatures checked. To take a piece, one of
 * those who vouch for it has to count; to contest it, anybody will do.
 */
export interface Evidence {
  /** The sha256 that it has in a blob proven here. */
  readonly proof: Uint8Array | undefined;
  /** The sha256 that this node read from the origin. */
  readonly own: Uint8Array | undefined;
  /** More proven words were heard than are remembered, all different. */
  readonly isCrowded: boolean;
  readonly claims: readonly Claim[];
  readonly counts: (by: PeerId) => boolean;
}

/**
 * Whether bytes with this sha256 are the piece. A proof of one's own settles it; then comes a proven word of others, if they do
 * not contradict each other or what was read here; then what was read here; then attestations that agree.
 */
export function weigh(sha256: Uint8Array, evidence: Evidence, trust: TrustLevel): Verdict {
  const { proof, own, isCrowded, claims, counts } = evidence;
  if (proof !== undefined)
    return sameBytes(proof, sha256) ? taken('proven') : refused('contradicts-proof', 'holder');
  const [value, another] = valuesOf(claims, 'proven');
  const isOwnOther = value !== undefined && own !== undefined && !sameBytes(own, value);
  if (isCrowded || another !== undefined || isOwnOther) return refused('contested', 'origin');
  const backing = claims.filter(({ fact, voucher }) => counts(voucher.by) && sameBytes(fact.sha256, sha256));
  if (value !== undefined) {
    const isCounted = claims.some(({ voucher }) => voucher.kind === 'proven' && counts(voucher.by));
    // Those who say so are in doubt: it is enough to disbelieve others, and not to be believed.
    if (!sameBytes(value, sha256))
      return isCounted ? refused('contradicts-proven', 'holder') : refused('contested', 'origin');
    if (isCounted) return taken('proven');
  }
  if (own !== undefined)
    return sameBytes(own, sha256) ? taken('attested') : refused('contradicts-origin', 'origin');
  if (trust === 'proven') return refused('attested', 'origin');
  if (valuesOf(claims, 'attested').some((attested) => !sameBytes(attested, sha256)))
    return refused('contested', 'origin');
  // Nobody whose word counts has spoken for it: the caller knows why.
  return backing.length === 0 ? refused('distrusted', 'holder') : taken('attested');
}

/** Different digests among the claims of a kind. */
export function valuesOf(claims: readonly Claim[], kind: 'attested' | 'proven'): Uint8Array[] {
  const values: Uint8Array[] = [];
  for (const { fact, voucher } of claims) {
    if (voucher.kind === kind && !values.some((value) => sameBytes(value, fact.sha256)))
      values.push(fact.sha256);
  }
  return values;
}

export function refused(why: Refusal, next: 'holder' | 'origin'): Verdict {
  return { taken: false, why, next };
}

export function taken(as: 'proven' | 'attested'): Verdict {
  return { taken: true, as };
}
