import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';

export interface ConnectAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The tunnel when the status is 200; else what is left of the connection, for the body. */
  readonly socket: Socket;
  /** What came right behind the answer's head. */
  readonly head: Buffer;
}

/** `CONNECT authority` at a proxy. */
export function openTunnel(
  proxy: string,
  authority: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly ca?: string } = {},
): Promise<ConnectAnswer> {
  const { protocol, hostname, port } = new URL(proxy);
  return new Promise((resolve, reject) => {
    const request = (protocol === 'https:' ? httpsRequest : httpRequest)({
      method: 'CONNECT',
      host: hostname,
      port,
      path: authority,
      headers: { Host: authority, ...options.headers },
      agent: false,
      timeout: 20_000,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    request.once('error', reject);
    request.once('timeout', () => request.destroy(new Error('no answer to CONNECT')));
    request.once('connect', (response, socket, head) => {
      request.off('error', reject);
      socket.on('error', () => undefined);
      socket.setTimeout(0);
      resolve({ status: response.statusCode ?? 0, headers: response.headers, socket, head });
    });
    request.end();
  });
}

/** TLS inside a tunnel. @throws what the handshake fails with. */
export function tlsInside(
  socket: Socket,
  options: {
    readonly ca: string | readonly string[];
    readonly servername?: string;
    readonly alpn?: readonly string[];
  },
): Promise<TLSSocket> {
  const { ca, servername = '', alpn } = options;
  return new Promise((resolve, reject) => {
    const tls = tlsConnect({
      socket,
      ca: typeof ca === 'string' ? ca : [...ca],
      servername,
      ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
      // Without a server name node checks against `host`, which a ready-made socket has none of.
      checkServerIdentity: () => undefined,
    });
    tls.once('error', reject);
    tls.once('close', () => reject(new Error('closed in the handshake')));
    tls.once('secureConnect', () => {
      tls.off('error', reject);
      tls.on('error', () => undefined);
      resolve(tls);
    });
  });
}
