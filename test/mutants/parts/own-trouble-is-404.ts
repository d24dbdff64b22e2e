import type { ServerResponse } from 'node:http';
import { resetConnection } from '../../../src/proxy/reset.ts';

export * from '../../../src/proxy/respond.ts';

export function respondError(response: ServerResponse): void {
  if (response.headersSent) resetConnection(response);
  else response.writeHead(404, ['Content-Length', '0']).end();
}
