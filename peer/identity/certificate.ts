import 'reflect-metadata';
import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { Extension, X509CertificateGenerator } from '@peculiar/x509';
import { derOf, OCTET_STRING, SEQUENCE } from './der.ts';
import type { Identity } from './identity.ts';
import { ED25519_KEY_PREFIX, PUBLIC_KEY_EXTENSION, signedStatement } from './libp2p-extension.ts';
import { publicKeyOf } from './peer-id.ts';

/** PEM, as node:tls takes them. */
export interface TlsCredentials {
  readonly key: string;
  readonly cert: string;
}

/**
 * From long ago to far away, since clocks of nodes differ and the certificate is good for one process: its key is
 * made anew at each start.
 */
const VALID_FROM = new Date('2020-01-01T00:00:00Z');
const VALID_TO = new Date('2120-01-01T00:00:00Z');

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/**
 * A self-signed certificate of a fresh P-256 key that carries the node's public key and its signature over the
 * certificate's key (libp2p specs, tls: "libp2p Public Key Extension").
 */
export async function makeCertificate(
  identity: Identity,
  validity: { readonly from?: Date; readonly to?: Date } = {},
): Promise<TlsCredentials> {
  // Named wherever it is used: libp2p sets another one for the whole process when it is loaded.
  const { subtle } = webcrypto;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keys = {
    privateKey: await subtle.importKey('jwk', privateKey.export({ format: 'jwk' }), ALGORITHM, true, [
      'sign',
    ]),
    publicKey: await subtle.importKey('jwk', publicKey.export({ format: 'jwk' }), ALGORITHM, true, [
      'verify',
    ]),
  } satisfies webcrypto.CryptoKeyPair;
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      // Positive and short: a first byte of 01 leaves no sign bit to get wrong (RFC 5280 §4.1.2.2).
      serialNumber: `01${randomBytes(8).toString('hex')}`,
      notBefore: validity.from ?? VALID_FROM,
      notAfter: validity.to ?? VALID_TO,
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [new Extension(PUBLIC_KEY_EXTENSION, true, extensionValue(identity, spki))],
    },
    webcrypto,
  );
  return {
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    cert: certificate.toString('pem'),
  };
}

/** SignedKey ::= SEQUENCE { publicKey OCTET STRING, signature OCTET STRING } */
function extensionValue(identity: Identity, spki: Uint8Array): Uint8Array {
  const publicKey = publicKeyOf(identity.id) ?? new Uint8Array(0);
  return derOf(
    SEQUENCE,
    Buffer.concat([
      derOf(OCTET_STRING, Buffer.concat([ED25519_KEY_PREFIX, publicKey])),
      derOf(OCTET_STRING, identity.sign(signedStatement(spki))),
    ]),
  );
}
