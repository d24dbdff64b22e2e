import type { PeerId } from './member.ts';

/**
 * A member's signed word on the digest of one piece. The statement that is signed names the network, the realm (messages.ts), the kind, the blob's digest and
 * size, the piece's index and length, and the sha256 of its bytes; the bytes themselves are hashed by whoever receives them.
 * attested: that member read the piece from the origin. proven: it has seen the whole blob match its digest.
 */
export interface Voucher {
  readonly kind: 'attested' | 'proven';
  readonly by: PeerId;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
}
