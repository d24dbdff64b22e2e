import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { realmOf } from '../../peer/realm.ts';
import type { Shelf } from '../../peer/shelf.ts';
import { PIECE_BYTES, pieceSpan } from '../../src/blob/piece.ts';
import type { OriginId } from '../../src/blob/upstream.ts';
import { PieceBuffers } from '../../src/content/piece-buffers.ts';
import { createShelf } from '../../src/shelf.ts';
import type { Store } from '../../src/store/store.ts';
import { blobOf, putAll, storeIn } from '../store/support.ts';
import { TempFolder } from '../support/temp-folder.ts';

const [OPEN, CLOSED] = ['https://open.test', 'https://closed.test'] as [OriginId, OriginId];

class CountingBuffers extends PieceBuffers {
  out = 0;
  override take(length: number): Buffer {
    this.out += 1;
    return super.take(length);
  }
  override give(buffer: Buffer): void {
    this.out -= 1;
    super.give(buffer);
  }
}

function shelfOf(
  store: Store,
  origins: readonly OriginId[] = [OPEN],
): { shelf: Shelf; buffers: CountingBuffers } {
  const buffers = new CountingBuffers();
  const shelf = createShelf({
    store,
    buffers,
    originsOf: () => origins,
    shares: (origin) => origin === OPEN,
  });
  return { shelf, buffers };
}

const signal = AbortSignal.timeout(20_000);

test('pieces are lent whole and right, from memory and from the disk, and their buffers come back', async () => {
  await using folder = await TempFolder.make();
  const store = await storeIn(folder.path, { memoryBytes: 8 * PIECE_BYTES });
  try {
    const blob = blobOf(3 * PIECE_BYTES + 77, 'lent');
    await putAll(store, blob);
    const { shelf, buffers } = shelfOf(store);
    for (let turn = 0; turn < 3; turn += 1) {
      for (let piece = 0; piece < 4; piece += 1) {
        const lent = await shelf.lend(blob, piece, signal);
        assert.ok(lent !== null);
        const { start, end } = pieceSpan(piece, blob.size);
        assert.ok(lent.bytes.equals(blob.bytes.subarray(start, end)), `piece ${piece}`);
        assert.deepEqual(createHash('sha256').update(lent.bytes).digest(), Buffer.from(lent.sha256));
        lent.release();
      }
      if (turn === 1) {
        for (let piece = 0; piece < 4; piece += 1) {
          const { start, end } = pieceSpan(piece, blob.size);
          const info = { size: blob.size, mediaType: undefined };
          store.memory.admit(blob.digest, info, piece, blob.bytes.subarray(start, end), { forced: true });
        }
      }
    }
    assert.equal(buffers.out, 0);
    assert.equal(await shelf.lend(blobOf(5, 'other'), 0, signal), null);
  } finally {
    await store.close();
  }
});

test('a piece whose file was damaged is not lent, and leaves the shelf', async () => {
  await using folder = await TempFolder.make();
  const blob = blobOf(2 * PIECE_BYTES, 'damaged');
  const first = await storeIn(folder.path);
  await putAll(first, blob);
  await first.close();
  for (const name of readdirSync(join(folder.path, 'segments')))
    writeFileSync(join(folder.path, 'segments', name), Buffer.alloc(2 * PIECE_BYTES, 9));
  const store = await storeIn(folder.path);
  try {
    const { shelf, buffers } = shelfOf(store);
    assert.equal(await shelf.lend(blob, 1, signal), null);
    assert.equal(shelf.has(blob.digest, 1), false);
    assert.equal(buffers.out, 0);
  } finally {
    await store.close();
  }
});

test('what one of its origins does not share has no realm', async () => {
  await using folder = await TempFolder.make();
  const store = await storeIn(folder.path);
  try {
    const { digest } = blobOf(5, 'any');
    assert.deepEqual(shelfOf(store, [OPEN]).shelf.realmsOf(digest), [realmOf(OPEN)]);
    assert.deepEqual(shelfOf(store, [OPEN, CLOSED]).shelf.realmsOf(digest), []);
    assert.deepEqual(shelfOf(store, []).shelf.realmsOf(digest), []);
    assert.match(realmOf(OPEN), /^[0-9a-f]{16}$/);
    assert.notEqual(realmOf(OPEN), realmOf(CLOSED));
  } finally {
    await store.close();
  }
});
