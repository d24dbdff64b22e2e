import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { Extension, X509CertificateGenerator } from '@peculiar/x509';
import { derOf, OCTET_STRING, SEQUENCE } from '../../../peer/identity/der.ts';
import type { Identity } from '../../../peer/identity/identity.ts';
import {
  ED25519_KEY_PREFIX,
  PUBLIC_KEY_EXTENSION,
  signedStatement,
} from '../../../peer/identity/libp2p-extension.ts';
import { publicKeyOf } from '../../../peer/identity/peer-id.ts';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 2048,
};

/** What is wrong with it, each by itself; an empty flaw makes a certificate that is right. */
export interface Flaw {
  readonly from?: Date;
  readonly to?: Date;
  /** In place of the protobuf of the node's public key. */
  readonly keyField?: Uint8Array;
  /** In place of the signature over the certificate's key. */
  readonly signature?: Uint8Array;
  readonly extension?: 'absent' | 'twice' | 'other' | 'not critical';
  readonly certificateKey?: 'rsa';
  /** Signed by another key, whose subject is named as the issuer. */
  readonly issuedByOther?: boolean;
  /** Signed by another key, though it names itself as the issuer. */
  readonly wrongSelfSignature?: boolean;
}

export interface FlawedCertificate {
  readonly der: Buffer;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** A peer-id certificate with one thing wrong. */
export async function flawedCertificate(identity: Identity, flaw: Flaw = {}): Promise<FlawedCertificate> {
  const { subtle } = webcrypto;
  const algorithm = flaw.certificateKey === 'rsa' ? RSA : EC;
  const keys = (await subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const others = (await subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const spki = Buffer.from(await subtle.exportKey('spki', keys.publicKey));
  const publicKey = publicKeyOf(identity.id) ?? new Uint8Array(0);
  const value = derOf(
    SEQUENCE,
    Buffer.concat([
      derOf(OCTET_STRING, flaw.keyField ?? Buffer.concat([ED25519_KEY_PREFIX, publicKey])),
      derOf(OCTET_STRING, flaw.signature ?? identity.sign(signedStatement(spki))),
    ]),
  );
  const extension = new Extension(
    flaw.extension === 'other' ? '1.3.6.1.4.1.53594.1.2' : PUBLIC_KEY_EXTENSION,
    flaw.extension !== 'not critical',
    value,
  );
  const copies = flaw.extension === 'absent' ? 0 : flaw.extension === 'twice' ? 2 : 1;
  const made = await X509CertificateGenerator.create(
    {
      serialNumber: '0102',
      subject: 'CN=leaf',
      issuer: flaw.issuedByOther ? 'CN=root' : 'CN=leaf',
      notBefore: flaw.from ?? new Date(Date.now() - 3_600_000),
      notAfter: flaw.to ?? new Date(Date.now() + 3_600_000),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: flaw.issuedByOther || flaw.wrongSelfSignature ? others.privateKey : keys.privateKey,
      extensions: Array<Extension>(copies).fill(extension),
    },
    webcrypto,
  );
  const pkcs8 = Buffer.from(await subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    der: Buffer.from(made.rawData),
    cert: made.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  };
}

/** DER of a PEM certificate. */
export function derOfPem(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
}
