import { X509Certificate } from 'node:crypto';
import { DamselflyError } from '../../src/errors.ts';
import type { PeerId } from '../member.ts';
import {
  BOOLEAN,
  type DerElement,
  derElements,
  derSequence,
  OBJECT_IDENTIFIER,
  OCTET_STRING,
  SEQUENCE,
} from './der.ts';
import { ED25519_KEY_PREFIX, PUBLIC_KEY_EXTENSION_DER, signedStatement } from './libp2p-extension.ts';
import { PUBLIC_KEY_BYTES, peerIdOf } from './peer-id.ts';
import { verifySignature } from './signature.ts';

/** Ours have some 450 bytes. */
const MAX_CERTIFICATE_BYTES = 4096;

/** [3] EXPLICIT extensions of a TBSCertificate (RFC 5280 §4.1). */
const EXTENSIONS_TAG = 0xa3;
/** [0] EXPLICIT version. */
const VERSION_TAG = 0xa0;

/**
 * Who shows this certificate, by the libp2p TLS specification. Costs a third of what a JavaScript X.509 parser does.
 * @param raw DER, as `getPeerCertificate().raw` gives it; undefined when none was sent.
 * @param nowMs milliseconds since the epoch.
 * @throws DamselflyError `peer-refused` for whatever is not right with it.
 */
export function verifyCertificate(raw: Buffer | undefined, nowMs: number): PeerId {
  if (raw === undefined || raw.length === 0) throw refused('it showed no certificate');
  if (raw.length > MAX_CERTIFICATE_BYTES) throw refused('its certificate is too large');
  try {
    return verified(raw, nowMs);
  } catch (error) {
    // Whatever OpenSSL or the parser say of bytes that a stranger sent.
    throw error instanceof DamselflyError ? error : refused('its certificate cannot be read', error);
  }
}

function verified(raw: Buffer, nowMs: number): PeerId {
  const certificate = new X509Certificate(raw);
  // Trailing bytes, or a second certificate, would not be covered by the signature.
  if (!certificate.raw.equals(raw)) throw refused('its certificate has bytes behind it');
  if (nowMs < certificate.validFromDate.getTime()) throw refused('its certificate is not valid yet');
  if (nowMs > certificate.validToDate.getTime()) throw refused('its certificate has expired');
  const { publicKey } = certificate;
  if (publicKey.asymmetricKeyType !== 'ec' && publicKey.asymmetricKeyType !== 'ed25519')
    throw refused('its certificate has a key of another kind');
  if (certificate.issuer !== certificate.subject || !certificate.verify(publicKey))
    throw refused('its certificate is not signed by its own key');

  const tbs = derSequence(raw)[0];
  if (tbs?.tag !== SEQUENCE) throw new RangeError('no TBSCertificate');
  const fields = derElements(tbs.content);
  // version [0], serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, … (RFC 5280 §4.1)
  const spki = fields[fields[0]?.tag === VERSION_TAG ? 6 : 5];
  if (spki?.tag !== SEQUENCE) throw new RangeError('no SubjectPublicKeyInfo');
  const [keyField, signatureField, ...more] = derSequence(signedKey(fields));
  if (keyField?.tag !== OCTET_STRING || signatureField?.tag !== OCTET_STRING || more.length > 0)
    throw new RangeError('no SignedKey');

  const prefix = keyField.content.subarray(0, ED25519_KEY_PREFIX.length);
  const key = keyField.content.subarray(ED25519_KEY_PREFIX.length);
  if (!prefix.equals(ED25519_KEY_PREFIX) || key.length !== PUBLIC_KEY_BYTES)
    throw refused('its key is not an Ed25519 one');
  const id = peerIdOf(key);
  if (!verifySignature(id, signedStatement(spki.whole), signatureField.content))
    throw refused('its certificate was not signed by the key that it names');
  return id;
}

/** The value of the one extension that names the libp2p key. */
function signedKey(fields: readonly DerElement[]): Buffer {
  const holder = fields.find(({ tag }) => tag === EXTENSIONS_TAG);
  if (holder === undefined) throw refused('its certificate names no libp2p key');
  const values = derSequence(holder.content)
    // Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
    .map(({ content }) => derElements(content))
    .filter(([name]) => name?.tag === OBJECT_IDENTIFIER && name.content.equals(PUBLIC_KEY_EXTENSION_DER))
    .map(([, second, third]) => (second?.tag === BOOLEAN ? third : second));
  const [value, ...more] = values;
  if (value?.tag !== OCTET_STRING || more.length > 0) throw refused('its certificate names no libp2p key');
  return value.content;
}

function refused(what: string, cause?: unknown): DamselflyError {
  return new DamselflyError('peer-refused', `the other side was refused: ${what}`, { cause });
}
