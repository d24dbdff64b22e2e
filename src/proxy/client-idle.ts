import type { ServerResponse } from 'node:http';
import { resetConnection } from './reset.ts';

/**
 * Cuts the connection when its client takes no byte of this answer for `idleMs`, so that what waits for it (a slot of
 * the origin, memory) is given back. For answers that go through the socket: node:http does not see sendfile's bytes.
 */
export function resetWhenIdle(response: ServerResponse, idleMs: number, onIdle: () => void): void {
  response.setTimeout(idleMs, () => {
    onIdle();
    resetConnection(response);
  });
}
