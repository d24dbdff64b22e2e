import { createServer } from 'node:net';

/**
 * A loopback port that was free a moment ago, for programs that must be told their port. It may be lost to another
 * program in between, which then shows as a failed start.
 */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port');
  return address.port;
}

/** True once `url` answers at all with one of the statuses. */
export async function answers(url: string, statuses: readonly number[] = [200]): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return statuses.includes(response.status);
  } catch {
    return false;
  }
}
