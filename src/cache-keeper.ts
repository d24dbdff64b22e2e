import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  BlobLine,
  BlobsDocument,
  CacheGcEvent,
  CacheRemoveEvent,
  CacheVerifyEvent,
  FailedEvent,
  GcRequest,
  RemoveRequest,
  VerifyRequest,
} from './admin/cache-events.ts';
import type { CacheKeeper } from './admin/cache-routes.ts';
import type { Digest } from './blob/digest.ts';
import type { OriginId } from './blob/upstream.ts';
import { DamselflyError } from './errors.ts';
import type { Logger } from './observe/log.ts';
import type { InventoryQuery } from './store/inventory.ts';
import type { Store } from './store/store.ts';

/** Of each blob; a base layer may be in hundreds. */
const MAX_REPOSITORIES = 8;
/** Blobs removed between two turns of the loop. */
const STEP_BLOBS = 64;
/** In a node that serves: leaves most of a disk to its readers, and goes through 64 GiB in less than ten minutes. */
export const NODE_BYTES_PER_SECOND = 128 * 2 ** 20;

export interface KeeperParts {
  readonly store: Pick<Store, 'care'>;
  readonly log: Logger;
  readonly defaultBytesPerSecond: number;
  /** @returns false when somebody uses it, and it goes when they have ended. */
  remove(digest: Digest): boolean;
  /** The bytes are not those of the digest. */
  forget(digest: Digest): void;
  originsOf(digest: Digest): readonly OriginId[];
  repositoriesOf(
    digests: ReadonlySet<Digest>,
    maxEach: number,
  ): ReadonlyMap<Digest, readonly { origin: OriginId; repository: string }[]>;
}

/** What people ask of a cache: of a running node over its admin port, or of a directory that no node uses now. */
export function cacheKeeper(parts: KeeperParts): CacheKeeper {
  const { store, log } = parts;
  const { care } = store;
  /** Checking and tidying one at a time: each goes through everything. */
  let busyWith: string | null = null;
  const alone = async function* <T extends object>(
    what: string,
    signal: AbortSignal,
    work: () => AsyncGenerator<T>,
  ): AsyncGenerator<T | FailedEvent> {
    try {
      refuseBusy(busyWith);
      busyWith = what;
      try {
        yield* work();
      } finally {
        busyWith = null;
      }
    } catch (error) {
      yield failed(signal.aborted ? signal.reason : error, log);
    }
  };
  return {
    blobs: (query) => blobsDocument(parts, query),
    verify({ digests, bytesPerSecond = parts.defaultBytesPerSecond }: VerifyRequest, signal) {
      refuseBusy(busyWith);
      const wanted =
        digests === undefined ? care.digests() : distinct(digests.map((text) => care.find(text)));
      const drop = (digest: Digest): void => parts.forget(digest);
      return alone<CacheVerifyEvent>('verify', signal, () =>
        care.verify(wanted, { bytesPerSecond, signal, drop }),
      );
    },
    collect(request: GcRequest, signal) {
      refuseBusy(busyWith);
      return alone<CacheGcEvent>('gc', signal, async function* () {
        const report = await care.collect(request, signal);
        await care.settled();
        yield { event: 'done', ...report };
      });
    },
    remove({ digests, all }: RemoveRequest, signal) {
      const wanted = all === true ? care.digests() : distinct((digests ?? []).map((text) => care.find(text)));
      return removeBlobs(parts, wanted, signal);
    },
  };
}

async function* removeBlobs(
  parts: KeeperParts,
  digests: readonly Digest[],
  signal: AbortSignal,
): AsyncGenerator<CacheRemoveEvent> {
  const { care } = parts.store;
  try {
    let bytesSum = 0;
    let inUseCount = 0;
    for (const [index, digest] of digests.entries()) {
      signal.throwIfAborted();
      if (index % STEP_BLOBS === STEP_BLOBS - 1) await nextTurn();
      const bytes = care.diskBytes(digest);
      const inUse = !parts.remove(digest);
      bytesSum += bytes;
      if (inUse) inUseCount += 1;
      yield { event: 'removed', digest, bytes, inUse };
    }
    await care.settled();
    yield { event: 'done', blobs: digests.length, bytes: bytesSum, inUse: inUseCount };
  } catch (error) {
    yield failed(signal.aborted ? signal.reason : error, parts.log);
  }
}

async function blobsDocument(parts: KeeperParts, query: InventoryQuery): Promise<BlobsDocument> {
  const page = await parts.store.care.list(query);
  const places = parts.repositoriesOf(new Set(page.blobs.map(({ digest }) => digest)), MAX_REPOSITORIES);
  const blobs = page.blobs.map(
    ({ digest, size, mediaType, pieces, diskBytes, proven, lastReadMs }): BlobLine => {
      const repositories = (places.get(digest) ?? []).map(
        ({ origin, repository }) => `${new URL(origin).host}/${repository}`,
      );
      return {
        digest,
        size,
        mediaType: mediaType ?? null,
        pieces,
        diskBytes,
        proven,
        lastReadAt: new Date(lastReadMs).toISOString(),
        origins: parts.originsOf(digest),
        repositories: repositories.sort(),
      };
    },
  );
  return { ...page, blobs };
}

function refuseBusy(busyWith: string | null): void {
  if (busyWith === null) return;
  throw new DamselflyError(
    'cache-busy',
    `"cache ${busyWith}" is under way on this node: ask again when it is through`,
  );
}

function distinct(digests: readonly Digest[]): Digest[] {
  return [...new Set(digests)];
}

function failed(error: unknown, log: Logger): FailedEvent {
  if (error instanceof DamselflyError) return { event: 'failed', code: error.code, message: error.message };
  if (!(error instanceof Error && error.name === 'AbortError'))
    log.error({ err: error }, 'looking after the cache failed unexpectedly');
  return {
    event: 'failed',
    code: 'internal',
    message: 'A fault of Damselfly itself; the log has its details',
  };
}
