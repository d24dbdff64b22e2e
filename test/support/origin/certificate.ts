import 'reflect-metadata'; // @peculiar/x509 looks for its polyfill when it is loaded.
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

export interface Certificate {
  /** PEM. */
  readonly key: string;
  /** PEM; its own authority, so it is also what a client's `ca` takes. */
  readonly cert: string;
}

const DAY_MS = 86_400_000;

/**
 * A self-signed certificate for these names and addresses.
 * @param validity days from now; negative `toDays`: expired already.
 */
export async function selfSigned(
  hosts: readonly string[] = ['127.0.0.1', '::1', 'localhost'],
  validity: { readonly fromDays?: number; readonly toDays?: number } = {},
): Promise<Certificate> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${hosts[0]}`,
      notBefore: new Date(Date.now() + (validity.fromDays ?? -1) * DAY_MS),
      notAfter: new Date(Date.now() + (validity.toDays ?? 1) * DAY_MS),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new SubjectAlternativeNameExtension(
          hosts.map((value) => ({
            type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const),
            value,
          })),
        ),
      ],
    },
    webcrypto,
  );
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { key: PemConverter.encode(pkcs8, 'PRIVATE KEY'), cert: certificate.toString('pem') };
}
