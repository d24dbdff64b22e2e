import type { AdminPorts } from '../../src/admin/admin-server.ts';
import type { CacheKeeper } from '../../src/admin/cache-routes.ts';
import type { PrefetchEvent } from '../../src/admin/prefetch-events.ts';
import { Metrics } from '../../src/observe/metrics.ts';

export function makePorts(changes: Partial<AdminPorts> = {}): AdminPorts {
  const metrics = new Metrics();
  return {
    version: '1.2.3',
    startedAtMs: 0,
    token: undefined,
    health: () => ({ healthy: true, since: new Date(0).toISOString(), reasons: [] }),
    listen: () => ({ proxy: ['127.0.0.1:4001'], metrics: ['127.0.0.1:4002'], admin: ['127.0.0.1:4003'] }),
    totals: () => metrics.totals(),
    cache: () => ({
      dir: '/cache',
      blobs: 2,
      usedBytes: 10,
      maxBytes: 100,
      memoryBytes: 1,
      maxMemoryBytes: 5,
      degraded: null,
    }),
    origins: () => [{ origin: 'https://registry.example.com', breaker: 'closed' }],
    prefetch: () => ({ running: 0, maxRunning: 4 }),
    swarm: () => null,
    recentErrors: () => [],
    warnings: () => ['a warning'],
    keeper: makeKeeper(),
    prefetchImage: async function* ({ reference }) {
      yield doneEvent(reference);
    },
    ...changes,
  };
}

/** One that has nothing and does nothing. */
export function makeKeeper(changes: Partial<CacheKeeper> = {}): CacheKeeper {
  return {
    blobs: async () => ({ blobs: [], next: null, total: { blobs: 0, diskBytes: 0 } }),
    verify: async function* () {
      yield { event: 'failed', code: 'internal', message: 'not made' };
    },
    collect: async function* () {
      yield { event: 'failed', code: 'internal', message: 'not made' };
    },
    remove: async function* () {
      yield { event: 'done', blobs: 0, bytes: 0, inUse: 0 };
    },
    ...changes,
  };
}

export function doneEvent(reference: string): PrefetchEvent {
  return { event: 'done', reference, blobs: 1, blobsDone: 1, bytesDone: 7, bytesTotal: 7 };
}

export function linesOf(body: string): PrefetchEvent[] {
  return body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as PrefetchEvent);
}
