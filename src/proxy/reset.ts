import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isTcp } from './node-internals.ts';

/**
 * Ends a connection so that the client cannot take what it got for the whole answer: RST where the transport has one,
 * else a plain close in the middle of the body. Anything still queued is thrown away.
 */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  if (isTcp(socket)) socket.resetAndDestroy();
  else socket.destroy();
}

/**
 * The same for a response. One that still waits behind others on its connection (HTTP pipelining) lets them finish:
 * the reset comes in its turn.
 */
export function resetConnection(response: ServerResponse): void {
  if (response.socket !== null) resetSocket(response.socket);
  else if (!response.destroyed) response.once('socket', resetSocket);
}
