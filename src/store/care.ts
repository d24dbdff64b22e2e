import type { Digest } from '../blob/digest.ts';
import type { Catalog } from './catalog.ts';
import { collectGarbage, type GcOptions, type GcParts, type GcReport } from './gc.ts';
import {
  allDigests,
  diskBytesOf,
  findBlob,
  type InventoryPage,
  type InventoryQuery,
  listBlobs,
} from './inventory.ts';
import { Pace } from './pace.ts';
import { type VerifyEvent, type VerifyParts, verifyBlobs } from './verify.ts';

/** What a person may want to know of a store, and to have it do. */
export interface StoreCare {
  list(query: InventoryQuery): Promise<InventoryPage>;
  /** Everything that is known, also blobs without a piece. */
  digests(): Digest[];
  /** @throws DamselflyError `digest-unclear`, `blob-unknown`. */
  find(text: string): Digest;
  /** Allocated bytes of what is here of a blob. */
  diskBytes(digest: Digest): number;
  /** See {@link verifyBlobs}. @param options.drop default: the catalog's own. */
  verify(
    digests: readonly Digest[],
    options: {
      readonly bytesPerSecond: number;
      readonly signal: AbortSignal;
      readonly drop?: ((digest: Digest) => void) | undefined;
    },
  ): AsyncGenerator<VerifyEvent>;
  /** See {@link collectGarbage}. */
  collect(options: GcOptions, signal: AbortSignal): Promise<GcReport>;
  /** Whatever was dropped is off the disk, and out of the index. */
  settled(): Promise<void>;
  /** A reader was given bytes from the disk. */
  readerServed(): void;
}

export function storeCare(
  parts: Omit<VerifyParts, 'drop'> &
    GcParts & { readonly catalog: Catalog; readonly flush: () => Promise<void> },
): StoreCare {
  const { catalog, room, flush } = parts;
  let lastReadMs = Number.NEGATIVE_INFINITY;
  return {
    list: (query) => listBlobs(catalog, query),
    digests: () => allDigests(catalog),
    find: (text) => findBlob(catalog, text),
    diskBytes: (digest) => {
      const entry = catalog.find(digest);
      return entry === undefined ? 0 : diskBytesOf(entry);
    },
    verify: (digests, { bytesPerSecond, signal, drop = (digest) => catalog.drop(digest) }) =>
      verifyBlobs(
        { ...parts, drop },
        digests,
        new Pace({ bytesPerSecond, lastReadMs: () => lastReadMs }),
        signal,
      ),
    collect: (options, signal) => collectGarbage(parts, options, signal),
    settled: async () => {
      await room.quiet();
      await flush();
    },
    readerServed: () => {
      lastReadMs = performance.now();
    },
  };
}
