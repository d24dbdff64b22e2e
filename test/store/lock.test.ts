import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { pino } from 'pino';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import { type IndexPort, WorkerIndex, workerUrl } from '../../src/store/index-port.ts';
import { eventually } from '../support/eventually.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { tempFolder } from '../support/temp-folder.ts';
import {
  blobOf,
  goodPieces,
  metricValue,
  putAll,
  putPiece,
  readPiece,
  segmentFiles,
  storeIn,
} from './support.ts';

const blob = blobOf(2 * PIECE_BYTES + 3);

function logged(): { log: pino.Logger; lines: () => string[] } {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  return { log, lines: () => lines };
}

async function filled(path: string): Promise<void> {
  const store = await storeIn(path);
  await putAll(store, blob);
  await store.close();
}

function edit(path: string, sql: string): void {
  const db = new DatabaseSync(`${path}/index.db`);
  db.exec(sql);
  db.close();
}

test('two stores in one process exclude each other too', async (t) => {
  const { path } = await tempFolder(t);
  await expectNoLeak(async () => {
    const first = await storeIn(path);
    await assert.rejects(storeIn(path, { tuning: { lockWaitMs: 20 } }), (error) =>
      hasCode(error, 'cache-unusable'),
    );
    await putAll(first, blob);
    assert.equal((await goodPieces(first.disk, blob)).length, 3);
    await first.close();
  });
});

for (const [what, content] of [
  ['is not a database', 'this is no database at all, whatever its name says\n'.repeat(200)],
  ['is cut short', null],
] as const) {
  test(`an index that ${what} is discarded, and the node works`, async (t) => {
    const { path } = await tempFolder(t);
    await filled(path);
    const whole = readFileSync(`${path}/index.db`);
    writeFileSync(`${path}/index.db`, content ?? whole.subarray(0, 5000));
    const { log, lines } = logged();
    const store = await storeIn(path, { log });
    t.after(() => store.close());
    assert.ok(
      lines().some((line) => line.includes('damaged')),
      lines().join(''),
    );
    assert.deepEqual(await goodPieces(store.disk, blob), []);
    await putAll(store, blob);
    assert.equal((await goodPieces(store.disk, blob)).length, 3);
  });
}

test('rows that make no sense are forgotten with their files', async (t) => {
  const { path } = await tempFolder(t);
  await filled(path);
  edit(path, "UPDATE segment SET digests = x'00'");
  const store = await storeIn(path);
  t.after(() => store.close());
  assert.equal(store.usage().pieces, 0);
  assert.deepEqual(segmentFiles(path), []);
});

test('a digest in the index that is not ours is found when the piece is read', async (t) => {
  const { path } = await tempFolder(t);
  await filled(path);
  edit(path, 'UPDATE segment SET digests = zeroblob(length(digests))');
  const store = await storeIn(path);
  t.after(() => store.close());
  assert.deepEqual(await goodPieces(store.disk, blob), []);
  assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), 3);
});

test('a directory that cannot be made gives a store without a disk, and a warning', async (t) => {
  const { path } = await tempFolder(t);
  writeFileSync(`${path}/file`, '');
  const { log, lines } = logged();
  await expectNoLeak(async () => {
    const store = await storeIn(`${path}/file/cache`, { log, memoryBytes: 8 << 20 });
    assert.ok(
      lines().some((line) => line.includes('"level":40')),
      lines().join(''),
    );
    assert.equal(await putPiece(store, blob, 0), 'declined');
    assert.equal(await readPiece(store.disk, blob, 0), null);
    assert.notEqual(store.usage().degraded, null);
    assert.equal(await metricValue(store.metrics, 'damselfly_store_degraded'), 1);
    const info = { size: blob.size, mediaType: 'a/b' };
    assert.equal(store.catalog.record(blob.digest, info), true);
    assert.deepEqual(store.catalog.describe(blob.digest), info);
    store.memory.admit(blob.digest, info, 1, blob.bytes.subarray(PIECE_BYTES, 2 * PIECE_BYTES), {
      forced: true,
    });
    assert.deepEqual(await goodPieces(store.memory, blob), [1]);
    store.facts.put('tag', { key: 'k', value: 'v', expiresAtMs: 1 });
    assert.deepEqual(store.facts.load('tag'), []);
    await store.flush();
    await store.close();
  });
});

test('only what is ours is touched in the directory', async (t) => {
  const { path } = await tempFolder(t);
  writeFileSync(`${path}/identity.key`, 'secret');
  await filled(path);
  writeFileSync(`${path}/index.db`, 'broken');
  const store = await storeIn(path);
  await store.close();
  assert.equal(readFileSync(`${path}/identity.key`, 'utf8'), 'secret');
  assert.deepEqual(readdirSync(path).sort(), ['identity.key', 'index.db', 'lock', 'segments']);
});

test('the worker is found both in a checkout and compiled', () => {
  assert.ok(existsSync(workerUrl(new URL('../../src/store/index-port.ts', import.meta.url).href)));
  assert.equal(
    workerUrl('file:///app/dist/src/store/index-port.js').href,
    'file:///app/dist/src/store/index-worker.js',
  );
});

test('a directory that becomes usable is used without a restart, with what was learned meanwhile', async (t) => {
  const { path } = await tempFolder(t);
  await filled(`${path}/cache`);
  renameSync(`${path}/cache`, `${path}/away`);
  writeFileSync(`${path}/cache`, 'a file in its place');
  const store = await storeIn(`${path}/cache`, { tuning: { maintainMs: 20 } });
  t.after(() => store.close());
  assert.notEqual(store.usage().degraded, null);
  const other = blobOf(100, 'other');
  for (const { digest, size } of [blob, other])
    assert.equal(store.catalog.record(digest, { size, mediaType: 'a/b' }), true);
  assert.equal(await putPiece(store, other, 0), 'declined');
  store.facts.put('tag', { key: 'k', value: 'v', expiresAtMs: Number.POSITIVE_INFINITY });

  rmSync(`${path}/cache`);
  renameSync(`${path}/away`, `${path}/cache`);
  await eventually(() => store.usage().degraded === null);
  assert.deepEqual(await goodPieces(store.disk, blob), [0, 1, 2]);
  assert.equal(await putPiece(store, other, 0), 'stored');
  await store.close();
  const again = await storeIn(`${path}/cache`);
  t.after(() => again.close());
  assert.deepEqual(await goodPieces(again.disk, blob), [0, 1, 2]);
  assert.deepEqual(await goodPieces(again.disk, other), [0]);
  assert.deepEqual(again.catalog.describe(other.digest), { size: 100, mediaType: 'a/b' });
  assert.equal(again.facts.load('tag').length, 1);
});

test('an index that opens too late is used from then on', async (t) => {
  const { path } = await tempFolder(t);
  await filled(path);
  const worker = new WorkerIndex();
  const { promise: late, resolve: go } = Promise.withResolvers<void>();
  const index: IndexPort = {
    open: async (options) => {
      const contents = await worker.open(options);
      await late;
      return contents;
    },
    apply: (batch) => worker.apply(batch),
    measure: () => worker.measure(),
    rebuild: () => worker.rebuild(),
    hash: (job) => worker.hash(job),
    close: () => worker.close(),
  };
  const store = await storeIn(path, { tuning: { index, openTimeoutMs: 20 } });
  t.after(() => store.close());
  assert.equal(store.usage().degraded, 'disk-slow');
  assert.equal(await readPiece(store.disk, blob, 0), null);
  go();
  await eventually(() => store.usage().degraded === null);
  assert.deepEqual(await goodPieces(store.disk, blob), [0, 1, 2]);
});
