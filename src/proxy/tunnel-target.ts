import type { Socket } from 'node:net';
import type { Authority } from './authority.ts';

/** `host:port` of a CONNECT. */
export type TunnelTarget = Authority & { readonly port: number };

/**
 * Gives what came out of a tunnel to the HTTP server that the tunnel came in on. It is one function for each server, for
 * as long as the server lives.
 */
export type Adopt = (inside: Socket) => void;

/** Opens tunnels to some hosts from within, so that their blobs are cached. */
export interface TunnelInterceptor {
  takes(target: TunnelTarget): boolean;
  /**
   * @returns a function that answers the TLS handshake on a socket in the target's name; the socket is its own then.
   * @throws DamselflyError intercept-failed when there can be no certificate.
   */
  prepare(target: TunnelTarget, adopt: Adopt): Promise<(socket: Socket) => void>;
}
