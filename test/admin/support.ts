import type { AdminPorts } from '../../src/admin/admin-server.ts';
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
    recentErrors: () => [],
    warnings: () => ['a warning'],
    prefetchImage: async function* ({ reference }) {
      yield doneEvent(reference);
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
