import { connect, createServer } from 'node:net';
import type { ListenAddress } from '../../../config/address.ts';

/**
 * Whether an address can be listened on, by doing so for a moment. A unix socket is only knocked at: one that nobody
 * answers at is taken over by a node that starts.
 * @returns null when it can, else the errno's name.
 */
export function tryListen(address: ListenAddress, signal: AbortSignal): Promise<string | null> {
  return address.kind === 'tcp' ? tryBind(address.host, address.port) : knock(address.path, signal);
}

function tryBind(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

function knock(path: string, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ path, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve('EADDRINUSE');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? null : (error.code ?? 'unknown'));
    });
  });
}
