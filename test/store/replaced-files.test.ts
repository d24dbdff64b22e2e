import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { StoreOptions } from '../../src/store/store.ts';
import { SETTLE_MS } from '../../src/store/verifier.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FaultyDisk } from './faulty-disk.ts';
import {
  blobOf,
  goodPieces,
  metricValue,
  putPiece,
  type StoredBlob,
  segmentFiles,
  storeIn,
} from './support.ts';

/** Full segments of one length: two of one blob, one of another. */
const long = blobOf(32 * PIECE_BYTES, 'long');
const other = blobOf(16 * PIECE_BYTES, 'other');
/** What is put: enough of each segment to see a piece of the wrong one. */
const PUT: readonly (readonly [StoredBlob, readonly number[]])[] = [
  [long, [0, 1, 16, 17]],
  [other, [0, 1]],
];

async function fill(path: string, options: Partial<StoreOptions> = {}) {
  const store = await storeIn(path, options);
  for (const [blob, pieces] of PUT) for (const piece of pieces) await putPiece(store, blob, piece);
  return store;
}

function fileOf(path: string, blob: StoredBlob, segment: number): string {
  const prefix = `${blob.digest.slice(7)}.${segment}.`;
  return segmentFiles(path).find((file) => file.includes(prefix)) ?? assert.fail(`no file of ${prefix}`);
}

function swap(a: string, b: string): void {
  renameSync(a, `${a}.x`);
  renameSync(b, a);
  renameSync(`${a}.x`, b);
}

interface Damage {
  readonly damage: (path: string) => void;
  /** What of {@link PUT} can't be here afterwards. */
  readonly lost: readonly (readonly [StoredBlob, readonly number[]])[];
}

const DAMAGES: Record<string, Damage> = {
  'two segments of a blob exchanged': {
    damage: (path) => swap(fileOf(path, long, 0), fileOf(path, long, 1)),
    lost: [[long, [0, 1, 16, 17]]],
  },
  'segments of two blobs exchanged': {
    damage: (path) => swap(fileOf(path, long, 1), fileOf(path, other, 0)),
    lost: [
      [long, [16, 17]],
      [other, [0, 1]],
    ],
  },
  "another blob's bytes written into a file": {
    damage: (path) => writeFileSync(fileOf(path, long, 0), readFileSync(fileOf(path, other, 0))),
    lost: [[long, [0, 1]]],
  },
  'a pipe in its place': {
    damage: (path) => {
      const file = fileOf(path, other, 0);
      rmSync(file);
      execFileSync('mkfifo', [file]);
    },
    lost: [[other, [0, 1]]],
  },
  'a link to a device in its place': {
    damage: (path) => {
      const file = fileOf(path, other, 0);
      rmSync(file);
      symlinkSync('/dev/zero', file);
    },
    lost: [[other, [0, 1]]],
  },
  'a folder in its place': {
    damage: (path) => {
      const file = fileOf(path, other, 0);
      rmSync(file);
      mkdirSync(`${file}/deep`, { recursive: true });
    },
    lost: [[other, [0, 1]]],
  },
};

async function assertLost(
  store: Awaited<ReturnType<typeof fill>>,
  lost: Damage['lost'],
  extra: number,
): Promise<void> {
  for (const [blob, pieces] of PUT) {
    const gone = lost.find(([other]) => other === blob)?.[1] ?? [];
    assert.deepEqual(
      await goodPieces(store.disk, blob),
      pieces.filter((piece) => !gone.includes(piece)),
    );
  }
  const count = lost.reduce((sum, [, pieces]) => sum + pieces.length, extra);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), count);
}

/** Writes of the lost pieces and of their neighbours work, and no fault of one file is taken for one of the disk. */
async function assertMends(store: Awaited<ReturnType<typeof fill>>): Promise<void> {
  for (const [blob, pieces] of PUT) {
    for (const piece of [...pieces, (pieces.at(-1) ?? 0) + 1]) {
      // The first write into a file that is no more finds that out.
      if ((await putPiece(store, blob, piece)) === 'declined')
        assert.equal(await putPiece(store, blob, piece), 'stored', `${piece}`);
      assert.equal(store.usage().degraded, null);
    }
  }
  for (const [blob] of PUT) await goodPieces(store.disk, blob);
}

for (const [what, { damage, lost }] of Object.entries(DAMAGES)) {
  test(`${what} while the store is closed: lost, counted, and mended`, async (t) => {
    const { path } = await tempFolder(t);
    await (await fill(path)).close();
    damage(path);
    const store = await storeIn(path);
    t.after(() => store.close());
    await assertLost(store, lost, 0);
    await assertMends(store);
  });

  test(`${what} while the store runs, with its files closed: lost, counted, and mended`, async (t) => {
    const { path } = await tempFolder(t);
    // One file open at most, so that all others are found by name again.
    const store = await fill(path, { tuning: { maxOpenFiles: 0 } });
    t.after(() => store.close());
    await sleep(SETTLE_MS * 1.5);
    for (const [blob] of PUT) await goodPieces(store.disk, blob);
    const third = blobOf(PIECE_BYTES, 'third');
    await putPiece(store, third, 0);
    await goodPieces(store.disk, third);
    damage(path);
    await assertLost(store, lost, 0);
    await assertMends(store);
  });

  test(`${what} while the store runs: a write into it finds out, and the disk is not blamed`, async (t) => {
    const { path } = await tempFolder(t);
    const store = await fill(path, { tuning: { maxOpenFiles: 0 } });
    t.after(() => store.close());
    await putPiece(store, blobOf(PIECE_BYTES, 'third'), 0);
    damage(path);
    await assertMends(store);
  });
}

for (const code of ['EACCES', 'EPERM', 'EIO']) {
  test(`a file that can't be opened any more (${code}), in a directory that can be: dropped and written anew`, async (t) => {
    const { path } = await tempFolder(t);
    await (await fill(path)).close();
    const disk = new FaultyDisk();
    const store = await storeIn(path, { disk });
    t.after(() => store.close());
    disk.fail('open', code, 1);
    assert.deepEqual(await goodPieces(store.disk, other), []);
    assert.equal(store.catalog.hasPiece(other.digest, 0), false);
    assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), 2);
    assert.equal(await putPiece(store, other, 0), 'stored');
    assert.deepEqual(await goodPieces(store.disk, other), [0]);
  });

  test(`a directory that can't be looked into any more (${code}): nothing is forgotten`, async (t) => {
    const { path } = await tempFolder(t);
    await (await fill(path)).close();
    const disk = new FaultyDisk();
    const store = await storeIn(path, { disk });
    t.after(() => store.close());
    disk.fail('open', code);
    disk.fail('freeSpace', code);
    for (const [blob] of PUT) assert.deepEqual(await goodPieces(store.disk, blob), []);
    disk.heal();
    await assertLost(store, [], 0);
  });
}

test('files of others beside the segments are removed at start, and never served', async (t: TestContext) => {
  const { path } = await tempFolder(t);
  await (await fill(path)).close();
  const files = segmentFiles(path);
  writeFileSync(`${path}/segments/README`, 'not ours');
  writeFileSync(`${path}/segments/${long.digest.slice(7)}.1.0-0`, Buffer.alloc(16 * PIECE_BYTES, 1));
  mkdirSync(`${path}/segments/folder/deep`, { recursive: true });
  const store = await storeIn(path);
  t.after(() => store.close());
  await assertLost(store, [], 0);
  assert.deepEqual(segmentFiles(path), files);
});
