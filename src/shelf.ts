import { LRUCache } from 'lru-cache';
import type { PieceBufferPool } from '../peer/exchange.ts';
import type { Realm } from '../peer/messages.ts';
import { realmOf } from '../peer/realm.ts';
import type { LentPiece, Shelf } from '../peer/shelf.ts';
import { Credential } from './blob/credential.ts';
import type { Digest } from './blob/digest.ts';
import { pieceSpan } from './blob/piece.ts';
import { isFileSlice, type OpenedRead } from './blob/source.ts';
import { spanLength } from './blob/span.ts';
import type { OriginId, Upstream } from './blob/upstream.ts';
import { Urgency } from './blob/urgency.ts';
import { readSlice } from './content/collect.ts';
import { openNear } from './content/near.ts';
import { DamselflyError, hasCode } from './errors.ts';
import type { Store } from './store/store.ts';

/** Clients may name any. */
const MAX_ORIGINS = 1_000;

/** Sources on the node ignore it. */
const NOWHERE: Upstream = {
  origin: '' as OriginId,
  repository: '',
  kind: 'blob',
  credential: Credential.anonymous,
};

export interface ShelfParts {
  readonly store: Pick<Store, 'catalog' | 'memory' | 'disk' | 'held' | 'dropPiece'>;
  readonly buffers: PieceBufferPool;
  /** A piece that was stored a moment ago and is still in memory. */
  readonly fresh?:
    | ((digest: Digest, piece: number) => Pick<LentPiece, 'bytes' | 'release'> | undefined)
    | undefined;
  originsOf(digest: Digest): readonly OriginId[];
  /** `origins[].share`. */
  shares(origin: OriginId): boolean;
}

/** The store as peers see it. */
export function createShelf({ store, buffers, fresh, originsOf, shares }: ShelfParts): Shelf {
  const { catalog } = store;
  const realms = new LRUCache<OriginId, Realm>({ max: MAX_ORIGINS, memoMethod: realmOf });
  return {
    // One origin that does not share is enough: the bytes may be its.
    realmsOf: (digest) => {
      const origins = originsOf(digest);
      return origins.every(shares) ? origins.map((origin) => realms.memo(origin)) : [];
    },
    sizeOf: (digest) => catalog.describe(digest)?.size,
    has: (digest, piece) => catalog.hasPiece(digest, piece),
    sha256Of: (digest, piece) => catalog.pieceDigest(digest, piece),
    isProven: (digest) => catalog.isProven(digest),
    inventory: () => store.held(),
    drop: (digest, piece) => store.dropPiece(digest, piece),
    async lend(blob, piece, signal) {
      const sha256 = catalog.pieceDigest(blob.digest, piece);
      if (sha256 === undefined) return null;
      const atHand = fresh?.(blob.digest, piece);
      if (atHand !== undefined) return { sha256, bytes: atHand.bytes, release: () => atHand.release() };
      const options = { signal, urgency: new Urgency('demand'), upstream: NOWHERE };
      try {
        const span = pieceSpan(piece, blob.size);
        const near = await openNear([store.memory, store.disk], blob, span, options);
        if (near === null) return null;
        return { sha256, ...(await borrow(near.opened, spanLength(span), buffers)) };
      } catch (error) {
        if (hasCode(error, 'store-corrupt') || hasCode(error, 'store-unreadable')) return null;
        throw error;
      }
    },
  };
}

/** A piece that is in memory is lent as it is; one in a file is read into a buffer of the pool. */
async function borrow(
  opened: OpenedRead,
  length: number,
  buffers: PieceBufferPool,
): Promise<Pick<LentPiece, 'bytes' | 'release'>> {
  let bytes: Buffer | undefined;
  let at = 0;
  // A read that failed half way may still write into it.
  let isSettled = true;
  try {
    for await (const chunk of opened.chunks) {
      if (!isFileSlice(chunk) && chunk.length === length) {
        return { bytes: Buffer.from(chunk.buffer, chunk.byteOffset, length), release: () => undefined };
      }
      bytes ??= buffers.take(length);
      if (at + chunk.length > length) break;
      isSettled = false;
      if (isFileSlice(chunk)) await readSlice(chunk, bytes, at);
      else bytes.set(chunk, at);
      isSettled = true;
      at += chunk.length;
    }
    if (bytes === undefined || at !== length)
      throw new DamselflyError('store-corrupt', 'A cached piece has another length than it should have');
    const lent = bytes;
    return { bytes: lent, release: () => buffers.give(lent) };
  } catch (error) {
    if (isSettled && bytes !== undefined) buffers.give(bytes);
    throw error;
  } finally {
    opened.close();
  }
}
