import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export * from '../../../src/proxy/reset.ts';

export function resetSocket(socket: Socket): void {
  socket.end();
}

export function resetConnection(response: ServerResponse): void {
  response.socket?.end();
}
