import type { Socket } from 'node:net';
import { isAnswering } from './node-internals.ts';
import { resetSocket } from './reset.ts';

/** Time for a client to read why it is turned away, before the connection is cut (RFC 9112 §9.6). */
const LINGER_MS = 1_000;
/** First byte of a TLS record with a handshake in it (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 0x16;
const METHOD = /^[A-Z-]{1,32} /;

interface ParseError extends Error {
  readonly code?: string;
  /** The bytes in which the parser stumbled. */
  readonly rawPacket?: Buffer;
}

/** `clientError` of node:http: what comes in is no HTTP request, or the connection broke. */
export function answerClientError(error: ParseError, socket: Socket): void {
  if (socket.destroyed || socket.writableEnded) return;
  // In the middle of an answer a status would be taken for a part of it.
  if (isAnswering(socket)) {
    resetSocket(socket);
    return;
  }
  const status = statusOf(error);
  if (status === null || !socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  const cut = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(cut));
}

/** Null: nobody would understand an answer, so the connection is closed at once. */
function statusOf({ code, rawPacket }: ParseError): string | null {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return isInRequestLine(rawPacket) ? '414 URI Too Long' : '431 Request Header Fields Too Large';
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return '413 Content Too Large';
    // A connection on which no request came in time: some clients open them ahead of need, and would take a 408 for the
    // answer to the request that they are about to send.
    case 'ERR_HTTP_REQUEST_TIMEOUT':
    case 'HPE_INVALID_EOF_STATE':
      return null;
  }
  if (code?.startsWith('HPE_') !== true) return null;
  // podman tries https first on a plain port and waits for us to hang up.
  return rawPacket?.[0] === TLS_HANDSHAKE ? null : '400 Bad Request';
}

/** Whether what is too long is the URL: told only when the request's beginning is in the same packet. */
function isInRequestLine(packet: Buffer | undefined): boolean {
  if (packet === undefined) return false;
  return METHOD.test(packet.subarray(0, 40).toString('latin1')) && !packet.includes('\n');
}
