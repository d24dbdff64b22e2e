import type { FastifyInstance } from 'fastify';
import { formatAddress, type TcpAddress } from '../../config/address.ts';
import { DamselflyError } from '../errors.ts';

/** Answers of the admin ports are short; what is left after so long is cut. */
const CLOSE_GRACE_MS = 1_000;

/**
 * Binds one fastify instance to its first address and further ones to clones of it.
 * @param key of the configuration, named when an address is taken.
 * @returns the addresses with the ports that the system chose.
 * @throws DamselflyError listen-failed.
 */
export async function listenAll(
  create: () => FastifyInstance,
  addresses: readonly TcpAddress[],
  key: string,
): Promise<{ listened: string[]; close(): Promise<void> }> {
  const apps: FastifyInstance[] = [];
  const listened: string[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(apps.map(closeSoon));
  };
  try {
    for (const address of addresses) {
      const app = create();
      apps.push(app);
      await app.listen({ host: address.host, port: address.port });
      const bound = app.server.address();
      const port = bound === null || typeof bound === 'string' ? address.port : bound.port;
      listened.push(formatAddress({ ...address, port }));
    }
  } catch (cause) {
    await close();
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new DamselflyError(
      'listen-failed',
      `An address of ${key} cannot be listened on (${reason}): stop what listens there, or choose another`,
      { facts: { key, reason }, cause },
    );
  }
  return { listened, close };
}

async function closeSoon(app: FastifyInstance): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS);
  try {
    app.server.closeIdleConnections();
    await app.close();
  } finally {
    clearTimeout(cut);
  }
}
