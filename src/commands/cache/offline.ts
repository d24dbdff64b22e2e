import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CacheKeeper } from '../../admin/cache-routes.ts';
import { DamselflyError } from '../../errors.ts';
import { INDEX_FILE } from '../../store/layout.ts';
import type { FoundNode } from '../node-address.ts';

export interface OfflineCache {
  readonly keeper: CacheKeeper;
  readonly notes: readonly string[];
  close(): Promise<void>;
}

/**
 * Opens the cache directory as a node would, under its lock.
 * @throws DamselflyError `cache-unusable`: there is none, somebody uses it, or it cannot be written to.
 */
export async function openCache({ config, adminText }: FoundNode): Promise<OfflineCache> {
  const { cache } = config;
  if (!existsSync(join(cache.dir, INDEX_FILE))) {
    throw new DamselflyError(
      'cache-unusable',
      `No node answers at ${adminText}, and ${cache.dir} is no cache, or this user may not look into it. Name the configuration with -c, or the node with --admin HOST:PORT`,
    );
  }
  // Loaded here, so that the other commands start without the store's weight.
  const [{ openStore }, { WorkerIndex }, { silentLogger }, { Metrics }, { FAULT_ADVICE }, { cacheKeeper }] =
    await Promise.all([
      import('../../store/store.ts'),
      import('../../store/index-port.ts'),
      import('../../observe/log.ts'),
      import('../../observe/metrics.ts'),
      import('../../store/health.ts'),
      import('../../cache-keeper.ts'),
    ]);
  const notes: string[] = [];
  class NotingIndex extends WorkerIndex {
    override async open(options: Parameters<InstanceType<typeof WorkerIndex>['open']>[0]) {
      const contents = await super.open(options);
      for (const { text } of contents.notes) notes.push(text);
      return contents;
    }
  }
  const store = await openStore({
    ...cache,
    memoryBytes: 0,
    log: silentLogger,
    metrics: new Metrics(),
    tuning: { index: new NotingIndex() },
  });
  const { degraded } = store.usage();
  if (degraded !== null) {
    await store.close();
    throw new DamselflyError(
      'cache-unusable',
      `The cache directory ${cache.dir} cannot be used: ${FAULT_ADVICE[degraded]}`,
    );
  }
  const drop = (digest: Parameters<typeof store.catalog.drop>[0]): void => store.catalog.drop(digest);
  return {
    notes,
    keeper: cacheKeeper({
      store,
      log: silentLogger,
      defaultBytesPerSecond: Number.POSITIVE_INFINITY,
      remove: (digest) => {
        drop(digest);
        return true;
      },
      forget: drop,
      originsOf: () => [],
      repositoriesOf: () => new Map(),
    }),
    close: () => store.close(),
  };
}
