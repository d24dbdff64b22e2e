import { PROOF_BYTES } from '../identity/membership-proof.ts';
import { MAX_NETWORK_KEYS } from '../identity/network-key-file.ts';
import { ByteReader, ByteWriter, broken } from './wire.ts';

/** Named in the TLS handshake; the number after the slash changes when frames do. */
export const ALPN = 'damselfly-exchange/1';
export const PROTOCOL_VERSION = 1;
/** Bits of what a side can do besides; none yet. Unknown ones are ignored. */
export const FEATURES = 0;

const MAGIC = 0x44_4d_53_46;

/** The first frame of both sides. */
export interface Hello {
  readonly version: number;
  readonly features: number;
  /** One for each key of the dialler; one of the listener, under the key that the dialler was found to hold; none on a stream. */
  readonly proofs: readonly Uint8Array[];
}

export function encodeHello(proofs: readonly Uint8Array[]): Buffer {
  const to = new ByteWriter();
  to.u32(MAGIC).u16(PROTOCOL_VERSION).u32(FEATURES).u8(proofs.length);
  for (const proof of proofs) to.bytes(proof);
  return to.finish();
}

export function decodeHello(body: Buffer): Hello {
  const from = new ByteReader(body);
  if (from.u32() !== MAGIC) throw broken('its first frame is not of this protocol');
  const version = from.u16();
  const features = from.u32();
  const count = from.u8();
  if (count > MAX_NETWORK_KEYS) throw broken(`${count} proofs`);
  const proofs: Uint8Array[] = [];
  for (let i = 0; i < count; i += 1) proofs.push(from.bytes(PROOF_BYTES));
  // A later version may say more.
  if (version === PROTOCOL_VERSION) from.end();
  return { version, features, proofs };
}

/** Why a listener has nothing to do with a dialler; the words of the metric. */
export const REFUSAL_REASONS = [
  'network-key',
  'certificate',
  'identity',
  'version',
  'protocol',
  'quarantined',
  'full',
  'timeout',
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export function encodeRefusal(reason: RefusalReason): Buffer {
  return Buffer.of(REFUSAL_REASONS.indexOf(reason));
}

export function decodeRefusal(body: Buffer): RefusalReason {
  return REFUSAL_REASONS[body[0] ?? -1] ?? 'protocol';
}
