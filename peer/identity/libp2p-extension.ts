/** libp2p specs, tls: OID of the "libp2p Public Key Extension". */
export const PUBLIC_KEY_EXTENSION = '1.3.6.1.4.1.53594.1.1';

/** The same OID as DER content bytes. */
export const PUBLIC_KEY_EXTENSION_DER = Buffer.from('2b0601040183a25a0101', 'hex');

/** libp2p's protobuf PublicKey {Type: Ed25519, Data: 32 bytes}, up to the key (libp2p specs, peer-ids: one encoding only). */
export const ED25519_KEY_PREFIX = Buffer.from('08011220', 'hex');

const SIGNED_PREFIX = Buffer.from('libp2p-tls-handshake:');

/** What the node's key signs: the prefix and the certificate's SubjectPublicKeyInfo in DER. */
export function signedStatement(spki: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNED_PREFIX, spki]);
}
