import type { Config } from '../config/schema.ts';
import { readSetting } from '../config/setting-files.ts';
import type { AccessGate } from './access/access-gate.ts';
import type { BlobOwners } from './access/blob-owners.ts';
import { type AdminPorts, MAX_PREFETCH_JOBS } from './admin/admin-server.ts';
import { prefetchImage } from './admin/prefetch.ts';
import type { StatusPorts } from './admin/status-document.ts';
import { cacheKeeper, NODE_BYTES_PER_SECOND } from './cache-keeper.ts';
import type { Content } from './content/content.ts';
import type { Health } from './observe/health.ts';
import type { Logger } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import type { RecentErrors } from './observe/recent-errors.ts';
import type { Origin } from './origin/origin.ts';
import type { OriginDirectory } from './origin/origin-directory.ts';
import { prefetchPorts } from './prefetch-ports.ts';
import type { Store } from './store/store.ts';

export interface AdminParts extends Pick<StatusPorts, 'version' | 'startedAtMs' | 'listen' | 'swarm'> {
  readonly config: Config;
  readonly warnings: readonly string[];
  /** Prefetch jobs under way. */
  readonly jobs: { readonly running: number };
  readonly store: Store;
  readonly directory: OriginDirectory;
  readonly origin: Origin;
  readonly content: Content;
  readonly gate: AccessGate;
  readonly owners: BlobOwners;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly recentErrors: RecentErrors;
  readonly log: Logger;
}

/**
 * What the admin port tells of the node, and lets people do to it: the seam between admin/ and the parts that it may not
 * know.
 * @throws DamselflyError config-invalid for a token that cannot be read.
 */
export function adminPorts(parts: AdminParts): AdminPorts {
  const { config, store, content, gate, owners, origin, directory, health, metrics, log } = parts;
  const { cache, admin } = config;
  const { version, startedAtMs, listen, swarm, warnings, jobs, recentErrors } = parts;
  return {
    version,
    startedAtMs,
    listen,
    swarm,
    log,
    token: admin.tokenFile === undefined ? undefined : readSetting('admin.tokenFile', admin.tokenFile).trim(),
    health: () => health.snapshot(),
    totals: () => metrics.totals(),
    cache: () => {
      const { allocatedBytes, maxBytes, blobs: count, degraded } = store.usage();
      return {
        dir: cache.dir,
        blobs: count,
        usedBytes: allocatedBytes,
        maxBytes,
        memoryBytes: store.memory.sizeBytes,
        maxMemoryBytes: cache.memoryBytes,
        degraded,
      };
    },
    origins: () => origin.http.standings(),
    prefetch: () => ({ running: jobs.running, maxRunning: MAX_PREFETCH_JOBS }),
    recentErrors: () => recentErrors.list(),
    warnings: () => warnings,
    keeper: cacheKeeper({
      store,
      log,
      defaultBytesPerSecond: NODE_BYTES_PER_SECOND,
      remove: (digest) => content.remove(digest),
      forget: (digest) => content.forget(digest),
      originsOf: (digest) => owners.ownersOf(digest),
      repositoriesOf: (digests, maxEach) => gate.repositoriesOf(digests, maxEach),
    }),
    prefetchImage: (request, signal) =>
      prefetchImage(prefetchPorts({ directory, origin, content, gate, owners, log }), request, signal),
  };
}
