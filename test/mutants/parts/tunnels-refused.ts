import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { ConnectRoute as Right } from '../../../src/proxy/connect-route.ts';

export * from '../../../src/proxy/connect-route.ts';

export class ConnectRoute extends Right {
  override async handle(_request: IncomingMessage, socket: Duplex): Promise<void> {
    socket.end('HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  }
}
