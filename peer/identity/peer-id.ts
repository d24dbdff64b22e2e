import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id';
import type { PeerId } from '../member.ts';

/** Bytes of a raw Ed25519 public key. */
export const PUBLIC_KEY_BYTES = 32;

/** A peer id of an Ed25519 key has 52 characters; nothing longer is looked at. */
const MAX_PEER_ID_LENGTH = 64;

/** The peer id of a raw Ed25519 public key (libp2p specs, peer-ids: identity multihash of its protobuf, base58btc). */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return peerIdFromPublicKey(publicKeyFromRaw(publicKey)).toString() as PeerId;
}

/** The raw Ed25519 public key inside a peer id; null when it is none of that kind. */
export function publicKeyOf(id: string): Uint8Array | null {
  if (id.length > MAX_PEER_ID_LENGTH) return null;
  try {
    const parsed = peerIdFromString(id);
    return parsed.type === 'Ed25519' && parsed.toString() === id ? parsed.publicKey.raw : null;
  } catch {
    return null;
  }
}

/** @returns null when the text is no peer id of an Ed25519 key in its one spelling (base58btc, `12D3KooW…`). */
export function parsePeerId(text: string): PeerId | null {
  return publicKeyOf(text) === null ? null : (text as PeerId);
}
