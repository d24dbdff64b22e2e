import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { PeerId } from '../member.ts';
import { publicKeyOf } from './peer-id.ts';

export const SIGNATURE_BYTES = 64;

/** SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** A memo of a pure function: decoding base58 and making a key object costs more than a lookup. */
const keys = new LRUCache<PeerId, KeyObject>({ max: 1024 });

/**
 * Ed25519, with the public key that the peer id holds.
 * @returns false also for a peer id that holds no such key, and for a signature of another length.
 */
export function verifySignature(id: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false;
  const key = keys.get(id) ?? remember(id);
  return key !== null && verify(null, bytes, key, signature);
}

/** @param raw 32 bytes. */
export function ed25519PublicKey(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
}

function remember(id: PeerId): KeyObject | null {
  const raw = publicKeyOf(id);
  if (raw === null) return null;
  const key = ed25519PublicKey(raw);
  keys.set(id, key);
  return key;
}
