import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { makeCertificate, type TlsCredentials } from '../../identity/certificate.ts';
import type { Identity } from '../../identity/identity.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../../identity/membership-proof.ts';
import { verifyCertificate } from '../../identity/verify-certificate.ts';
import type { PeerId } from '../../member.ts';

/** This node's side of every TLS handshake: one certificate and one context for the process. */
export interface TlsIdentity {
  readonly id: PeerId;
  readonly credentials: TlsCredentials;
  readonly context: SecureContext;
}

/** TLS 1.3 alone, and no tickets: a session is never taken up again, so each has an exporter of its own. */
export const TLS_OPTIONS = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;

export async function tlsIdentity(identity: Identity): Promise<TlsIdentity> {
  const credentials = await makeCertificate(identity);
  return { id: identity.id, credentials, context: createSecureContext({ ...credentials, ...TLS_OPTIONS }) };
}

/** Who is at the other end of a finished handshake. @throws DamselflyError `peer-refused` */
export function peerOf(socket: TLSSocket): PeerId {
  return verifyCertificate(socket.getPeerX509Certificate()?.raw, Date.now());
}

/** Bytes that only the two ends of this session know. */
export function exporterOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
}
