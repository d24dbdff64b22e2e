import 'reflect-metadata'; // @peculiar/x509 looks for its polyfill when it is loaded.
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { Certificate } from './origin/certificate.ts';

const DAY_MS = 86_400_000;

const KEYS = {
  'P-256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'P-384': { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  Ed25519: { name: 'Ed25519' },
  RSA: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
} as const;

export interface AuthorityOptions {
  readonly key?: keyof typeof KEYS;
  /** Default true. */
  readonly isAuthority?: boolean;
  /** Default: to sign certificates; null: no such extension. */
  readonly usages?: number | null;
  readonly fromDays?: number;
  readonly toDays?: number;
}

/** A certificate authority of its own, as an operator makes one for a node. */
export async function makeAuthority(options: AuthorityOptions = {}): Promise<Certificate> {
  const { key = 'P-256', isAuthority = true, usages = KeyUsageFlags.keyCertSign } = options;
  const algorithm = KEYS[key];
  const keys = (await webcrypto.subtle.generateKey(algorithm as never, true, [
    'sign',
    'verify',
  ])) as unknown as webcrypto.CryptoKeyPair;
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=Node CA, O="Damselfly, tests", C=DE',
      notBefore: new Date(Date.now() + (options.fromDays ?? -1) * DAY_MS),
      notAfter: new Date(Date.now() + (options.toDays ?? 30) * DAY_MS),
      signingAlgorithm: algorithm as never,
      keys,
      extensions: [
        new BasicConstraintsExtension(isAuthority, undefined, true),
        ...(usages === null ? [] : [new KeyUsagesExtension(usages, true)]),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { key: PemConverter.encode(pkcs8, 'PRIVATE KEY'), cert: certificate.toString('pem') };
}
