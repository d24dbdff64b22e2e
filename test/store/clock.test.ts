import assert from 'node:assert/strict';
import { utimesSync } from 'node:fs';
import { test } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { Catalog, type CatalogJournal } from '../../src/store/catalog.ts';
import { EMPTY_BATCH } from '../../src/store/index-load.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FaultyDisk } from './faulty-disk.ts';
import {
  blobOf,
  goodPieces,
  openSpan,
  putAll,
  putPiece,
  readPiece,
  segmentFiles,
  storeIn,
  take,
} from './support.ts';

const MIB = 1 << 20;
const HOUR_MS = 3_600_000;
const [a, b, c] = [blobOf(2 * MIB, 'a'), blobOf(2 * MIB, 'b'), blobOf(2 * MIB, 'c')];

test('after the clock was set back, what is read still counts as used', async (t) => {
  const { path } = await tempFolder(t);
  let nowMs = Date.now();
  const store = await storeIn(path, { maxBytes: 6 * MIB, tuning: { now: () => nowMs } });
  t.after(() => store.close());
  await putAll(store, a);
  await putAll(store, b);
  nowMs -= HOUR_MS;
  await readPiece(store.disk, a, 0);
  await putAll(store, c);
  assert.deepEqual(await goodPieces(store.disk, a), [0, 1]);
  assert.deepEqual(await goodPieces(store.disk, b), []);
});

test('what was used while the clock was ahead is not kept for as long as it was', async (t) => {
  const { path } = await tempFolder(t);
  let nowMs = Date.now() + HOUR_MS;
  const options = { maxBytes: 6 * MIB, tuning: { now: () => nowMs } };
  const first = await storeIn(path, options);
  await putAll(first, a);
  await first.close();
  nowMs -= HOUR_MS;
  const second = await storeIn(path, options);
  nowMs += 10_000;
  await putAll(second, b);
  await second.close();
  const third = await storeIn(path, options);
  t.after(() => third.close());
  await putAll(third, c);
  assert.deepEqual(await goodPieces(third.disk, a), []);
  assert.deepEqual(await goodPieces(third.disk, b), [0, 1]);
});

test('files whose times are ahead of the clock are checked once, and not at each read', async (t) => {
  const { path } = await tempFolder(t);
  const first = await storeIn(path);
  await putAll(first, a);
  await first.close();
  const disk = new FaultyDisk();
  const aheadNs = BigInt(HOUR_MS) * 1_000_000n;
  const stat = disk.stat.bind(disk);
  disk.stat = (fd) => {
    const real = stat(fd);
    return { ...real, mtimeNs: real.mtimeNs + aheadNs, ctimeNs: real.ctimeNs + aheadNs };
  };
  const store = await storeIn(path, { disk });
  t.after(() => store.close());
  assert.deepEqual(await goodPieces(store.disk, a), [0, 1]);
  const opened = await openSpan(store.disk, a, { start: 0, end: a.size });
  assert.ok(opened !== null && (await take(opened)).slices > 0, 'it is hashed again');
  // Trusted is not blindly trusted: a change shows.
  for (const file of segmentFiles(path)) utimesSync(file, 1, 1);
  assert.equal((await goodPieces(store.disk, a)).length, 2);
});

test('ids given before the index could be read, by a clock that went back, are never those of the index', () => {
  const rows: string[] = [];
  const journal: CatalogJournal = {
    blobChanged: (blob) => rows.push(`${blob.id} ${blob.digest}`),
    blobRemoved: () => undefined,
    segmentChanged: () => undefined,
    segmentRemoved: () => undefined,
    segmentUsed: () => undefined,
  };
  const catalog = new Catalog({ journal, maxBareBlobs: 10, dropped: () => undefined });
  catalog.record(a.digest, { size: a.size, mediaType: undefined });
  const taken = catalog.find(a.digest)?.id ?? assert.fail();
  catalog.load({
    blobs: [{ id: taken, digest: b.digest, size: b.size, mediaType: null, proven: false }],
    segments: {
      count: 0,
      blobIds: new Float64Array(0),
      segments: new Uint32Array(0),
      present: new Uint16Array(0),
      usedAtMs: new Float64Array(0),
      allocatedBytes: new Float64Array(0),
      files: [],
      digests: new Uint8Array(0),
      digestOffsets: new Float64Array(1),
    },
    facts: EMPTY_BATCH.facts,
    footprint: { indexBytes: 0, segmentsDirBytes: 0, otherBytes: 0 },
    notes: [],
    damagedPieces: 0,
    spare: [],
  });
  assert.equal(catalog.find(b.digest)?.id, taken);
  assert.notEqual(catalog.find(a.digest)?.id, taken);
  catalog.record(c.digest, { size: c.size, mediaType: undefined });
  const ids = [a, b, c].map(({ digest }) => catalog.find(digest)?.id);
  assert.equal(new Set(ids).size, 3);
});

test('a read notes its use in the index within seconds, so that a kill costs little of the order', async (t) => {
  const { path } = await tempFolder(t);
  let nowMs = Date.now();
  const options = { maxBytes: 6 * MIB, tuning: { now: () => nowMs } };
  const first = await storeIn(path, options);
  await putAll(first, a);
  await putAll(first, b);
  await first.flush();
  nowMs += 3_000;
  await readPiece(first.disk, a, 0);
  await first.flush();
  await first.close();
  const second = await storeIn(path, options);
  t.after(() => second.close());
  assert.equal(await putPiece(second, c, 0), 'stored');
  await putPiece(second, c, 1);
  assert.equal((await goodPieces(second.disk, a)).length, 2);
  assert.equal(PIECE_BYTES, MIB);
});
