import type { FastifyInstance } from 'fastify';
import { formatAddress, type TcpAddress } from '../../config/address.ts';
import { listenFailure } from '../listen-failure.ts';

/** Answers of the admin ports are short; what is left after so long is cut. */
const CLOSE_GRACE_MS = 1_000;

export interface Listening {
  /** `host:port` with the ports that the system chose. */
  readonly listened: readonly string[];
  /** Lets answers under way end for a moment, then cuts them. */
  close(): Promise<void>;
}

/**
 * Listens on each address with an instance of its own, since fastify binds one; on all of them or on none.
 * @param key of the configuration, named when an address cannot be had.
 * @throws DamselflyError listen-failed.
 */
export async function listenAll(
  create: () => FastifyInstance,
  addresses: readonly TcpAddress[],
  key: string,
  closeGraceMs: number = CLOSE_GRACE_MS,
): Promise<Listening> {
  const apps: FastifyInstance[] = [];
  const listened: string[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(apps.map((app) => closeSoon(app, closeGraceMs)));
  };
  for (const address of addresses) {
    const app = create();
    apps.push(app);
    try {
      await app.listen({ host: address.host, port: address.port });
    } catch (cause) {
      await close();
      throw listenFailure(address, key, cause);
    }
    const bound = app.server.address();
    const port = bound === null || typeof bound === 'string' ? address.port : bound.port;
    listened.push(formatAddress({ ...address, port }));
  }
  return { listened, close };
}

async function closeSoon(app: FastifyInstance, graceMs: number): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), graceMs);
  try {
    app.server.closeIdleConnections();
    await app.close();
  } finally {
    clearTimeout(cut);
  }
}
