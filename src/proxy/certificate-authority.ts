import { createPrivateKey, type KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { DamselflyError } from '../errors.ts';

const HOUR_MS = 3_600_000;
/** Clocks of clients may be behind by so much. */
const BACKDATED_MS = HOUR_MS;
const VALID_MS = 48 * HOUR_MS;
/** Longest common name (RFC 5280, ub-common-name); the alternative name is what counts. */
const MAX_COMMON_NAME = 64;

export interface LeafCertificate {
  /** PEM: the leaf, then what `caCertFile` holds. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
}

export interface AuthorityFiles {
  /** PEM, the authority's own certificate first. */
  readonly cert: string;
  /** PEM, not encrypted. */
  readonly key: string;
}

type X509 = typeof import('@peculiar/x509');

/** The CA of `proxy.intercept`: signs short-lived certificates for hosts whose tunnels are opened here. */
export class CertificateAuthority {
  readonly #x509: X509;
  readonly #pem: string;
  readonly #certificate: InstanceType<X509['X509Certificate']>;
  readonly #signingKey: webcrypto.CryptoKey;
  readonly #signingAlgorithm: SigningAlgorithm;
  /** One for all leaves: they live as long as the process does. */
  readonly #leafKeys: webcrypto.CryptoKeyPair;
  readonly #leafKeyPem: string;

  private constructor(parts: {
    x509: X509;
    pem: string;
    certificate: InstanceType<X509['X509Certificate']>;
    signingKey: webcrypto.CryptoKey;
    signingAlgorithm: SigningAlgorithm;
    leafKeys: webcrypto.CryptoKeyPair;
    leafKeyPem: string;
  }) {
    this.#x509 = parts.x509;
    this.#pem = parts.pem;
    this.#certificate = parts.certificate;
    this.#signingKey = parts.signingKey;
    this.#signingAlgorithm = parts.signingAlgorithm;
    this.#leafKeys = parts.leafKeys;
    this.#leafKeyPem = parts.leafKeyPem;
  }

  /** @throws DamselflyError config-invalid for what cannot sign: no CA, expired, another's key. */
  static async load(files: AuthorityFiles): Promise<CertificateAuthority> {
    const key = readKey(files.key);
    checkCertificate(readCertificate(files.cert), key);
    const signingAlgorithm = algorithmOf(key);
    // Loaded only where it is needed; the library looks for its polyfill when it is loaded.
    await import('reflect-metadata');
    const x509 = await import('@peculiar/x509');
    const certificate = new x509.X509Certificate(firstPem(files.cert));
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
    const leafKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', leafKeys.privateKey);
    return new CertificateAuthority({
      x509,
      pem: files.cert,
      certificate,
      signingKey: key.toCryptoKey(signingAlgorithm as never, false, ['sign']),
      signingAlgorithm,
      leafKeys,
      leafKeyPem: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
    });
  }

  /**
   * @param host a name, or an IP address without brackets.
   * @throws DamselflyError intercept-failed once the authority itself has expired.
   */
  async leaf(host: string): Promise<LeafCertificate> {
    const x509 = this.#x509;
    const now = Date.now();
    const { notBefore, notAfter } = this.#certificate;
    if (notAfter.getTime() <= now)
      throw new DamselflyError(
        'intercept-failed',
        'The certificate of proxy.intercept.caCertFile has expired: put a new one there and restart',
      );
    const identifier = this.#certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
    const certificate = await x509.X509CertificateGenerator.create(
      {
        serialNumber: serialNumber(),
        subject: host.length <= MAX_COMMON_NAME ? [{ CN: [host] }] : [],
        // The structure and not its text: verifiers compare the bytes of names.
        issuer: this.#certificate.subjectName,
        notBefore: new Date(Math.max(now - BACKDATED_MS, notBefore.getTime())),
        notAfter: new Date(Math.min(now + VALID_MS, notAfter.getTime())),
        publicKey: this.#leafKeys.publicKey,
        signingKey: this.#signingKey,
        signingAlgorithm: this.#signingAlgorithm as never,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
          new x509.SubjectAlternativeNameExtension(
            [{ type: isIP(host) === 0 ? 'dns' : 'ip', value: host }],
            host.length > MAX_COMMON_NAME,
          ),
          ...(identifier === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(identifier)]),
        ],
      },
      webcrypto,
    );
    return { cert: `${certificate.toString('pem')}\n${this.#pem}`, key: this.#leafKeyPem };
  }
}

interface SigningAlgorithm {
  readonly name: string;
  readonly hash?: string;
  readonly namedCurve?: string;
}

const CURVES: Readonly<Record<string, SigningAlgorithm>> = {
  prime256v1: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' },
};

function algorithmOf(key: KeyObject): SigningAlgorithm {
  const found =
    key.asymmetricKeyType === 'rsa'
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      : key.asymmetricKeyType === 'ed25519'
        ? { name: 'Ed25519' }
        : CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''];
  if (found !== undefined) return found;
  throw unusable('caKeyFile', 'it must be an RSA, EC (P-256, P-384, P-521) or Ed25519 key');
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw unusable('caKeyFile', 'it is no PEM private key, or an encrypted one', cause);
  }
}

function readCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw unusable('caCertFile', 'it is no PEM certificate', cause);
  }
}

function checkCertificate(certificate: X509Certificate, key: KeyObject): void {
  if (!certificate.ca)
    throw unusable('caCertFile', 'it is not the certificate of a CA (basicConstraints CA)');
  if (certificate.validToDate.getTime() <= Date.now())
    throw unusable('caCertFile', `it expired on ${certificate.validTo}`);
  if (certificate.validFromDate.getTime() > Date.now())
    throw unusable('caCertFile', `it is not valid before ${certificate.validFrom}`);
  if (!certificate.checkPrivateKey(key)) throw unusable('caKeyFile', 'it is not the key of caCertFile');
}

/** Positive, and not zero in its first byte (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function firstPem(text: string): string {
  return /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(text)?.[0] ?? text;
}

function unusable(key: 'caCertFile' | 'caKeyFile', why: string, cause?: unknown): DamselflyError {
  return new DamselflyError('config-invalid', `proxy.intercept.${key} cannot sign: ${why}`, {
    facts: { key: `proxy.intercept.${key}` },
    cause,
  });
}
