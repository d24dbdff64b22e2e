import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';

const DIAL_TIMEOUT_MS = 2_000;

/** Of this host's interfaces. */
export function ownAddresses(): ReadonlySet<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address)),
  );
}

/** Whether anybody answers there. @throws the socket's error, ETIMEDOUT after 2 s. */
export function dial(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.setTimeout(DIAL_TIMEOUT_MS, () =>
      socket.destroy(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })),
    );
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}
