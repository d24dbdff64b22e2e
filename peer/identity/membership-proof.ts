import { timingSafeEqual } from 'node:crypto';
import type { PeerId } from '../member.ts';
import type { NetworkKey } from './network-key.ts';

export const PROOF_BYTES = 32;
/** For `exportKeyingMaterial` (RFC 8446 §7.5): both ends of one TLS session, and nobody else, get these bytes. */
export const EXPORTER_LABEL = 'EXPORTER-damselfly-membership-1';
export const EXPORTER_BYTES = 32;

const CONTEXT = Buffer.from('damselfly membership 1\0');
const ROLE_BYTE = { dialler: 1, listener: 2 } as const;

/** What a proof is bound to: this session, this direction, these two nodes. Replayed elsewhere it proves nothing. */
export interface ProofScene {
  readonly exporter: Uint8Array;
  /** Of the side that proves. */
  readonly role: keyof typeof ROLE_BYTE;
  readonly dialler: PeerId;
  readonly listener: PeerId;
}

export function membershipProof(key: NetworkKey, scene: ProofScene): Buffer {
  return key.mac(statement(scene));
}

/**
 * @param keys those that are accepted.
 * @param proofs as many as the other side has keys; it does not know which of them we accept.
 * @returns the first of our keys that one of the proofs was made with; undefined: no member.
 */
export function provenKey(
  keys: readonly NetworkKey[],
  scene: ProofScene,
  proofs: readonly Uint8Array[],
): NetworkKey | undefined {
  const message = statement(scene);
  let found: NetworkKey | undefined;
  // All of them, also after a match: time tells nothing of which key it was.
  for (const key of keys) {
    const expected = key.mac(message);
    for (const proof of proofs) {
      if (proof.length === PROOF_BYTES && timingSafeEqual(expected, proof)) found ??= key;
    }
  }
  return found;
}

function statement(scene: ProofScene): Buffer {
  if (scene.exporter.length !== EXPORTER_BYTES) throw new RangeError('an exporter value has 32 bytes');
  return Buffer.concat([
    CONTEXT,
    Buffer.of(ROLE_BYTE[scene.role]),
    scene.exporter,
    field(scene.dialler),
    field(scene.listener),
  ]);
}

/** With its length before it, so that no two scenes have the same bytes. */
function field(id: PeerId): Buffer {
  const bytes = Buffer.from(id);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}
