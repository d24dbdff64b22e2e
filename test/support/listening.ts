import type { Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export interface Listening {
  readonly port: number;
  /** `127.0.0.1:41234`. */
  readonly host: string;
  /** `http://127.0.0.1:41234`, whatever is spoken there. */
  readonly url: string;
  /** Stops listening and cuts what is open. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a server on a free loopback port. */
export async function listening(server: Server | HttpServer, hostname = '127.0.0.1'): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, hostname, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  const host = `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { port, host, url: `http://${host}`, close, [Symbol.asyncDispose]: close };
}

/** An address that refuses connections: it was free a moment ago. */
export async function refusingAddress(): Promise<string> {
  const taken = await listening(createServer());
  await taken.close();
  return taken.host;
}

/** Accepts connections, reads what comes and never says a word. */
export function blackHole(): Promise<Listening> {
  return listening(
    createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume();
    }),
  );
}
