import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { pino } from 'pino';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import { FORMAT_VERSION } from '../../src/store/layout.ts';
import { eventually } from '../support/eventually.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { allocatedIn, blobOf, goodPieces, putAll, putPiece, segmentFiles, storeIn } from './support.ts';

const MIB = 1 << 20;
const blob = blobOf(5 * PIECE_BYTES + 3);
const ALL = [0, 1, 2, 3, 4, 5];

async function filled(path: string): Promise<void> {
  const store = await storeIn(path);
  await putAll(store, blob);
  await store.close();
}

/** Makes the index one of another format, as far as a version knows that does not know it. */
function setFormat(path: string, version: number): void {
  const db = new DatabaseSync(`${path}/index.db`);
  db.exec(`PRAGMA user_version = ${version}`);
  db.close();
}

function warnings(): { log: pino.Logger; text: () => string } {
  const lines: string[] = [];
  return {
    log: pino({ level: 'warn' }, { write: (line: string) => lines.push(line) }),
    text: () => lines.join(''),
  };
}

for (const [what, version] of [
  ['newer', FORMAT_VERSION + 1],
  ['much newer', 1_000_000],
  ['older, unknown', FORMAT_VERSION - 1],
  ['older, without a version', 0],
] as const) {
  test(`an index of a ${what} format is set aside whole, the log says so, and the cache works`, async (t) => {
    const { path } = await tempFolder(t);
    await filled(path);
    setFormat(path, version);
    const index = readFileSync(`${path}/index.db`);
    const files = segmentFiles(path).map((file) => file.slice(path.length));
    const { log, text } = warnings();
    const store = await storeIn(path, { log });
    t.after(() => store.close());
    assert.match(text(), version > FORMAT_VERSION ? /a newer version/ : /an older version/);
    assert.ok(text().includes(`${path}/format-${version}`), text());
    assert.equal(store.usage().degraded, null);
    assert.equal(store.usage().pieces, 0);
    assert.deepEqual(await goodPieces(store.disk, blob), []);
    const aside = `${path}/format-${version}`;
    assert.ok(readFileSync(`${aside}/index.db`).equals(index));
    assert.deepEqual(
      segmentFiles(aside).map((file) => file.slice(aside.length)),
      files,
    );
    // It is on the account.
    assert.ok(store.usage().allocatedBytes >= allocatedIn(aside));
    await putAll(store, blob);
    assert.deepEqual(await goodPieces(store.disk, blob), ALL);
  });
}

test('there and back again: each version finds what it had', async (t) => {
  const { path } = await tempFolder(t);
  await filled(path);
  // The other version starts: it sets ours aside, and fills its own.
  const ours = `${path}/format-${FORMAT_VERSION}`;
  setFormat(path, FORMAT_VERSION + 1);
  const down = await storeIn(path);
  const late = blobOf(2 * PIECE_BYTES, 'late');
  await putAll(down, late);
  await down.close();
  // What it left for us is now in the place of the other's.
  setFormat(`${path}/format-${FORMAT_VERSION + 1}`, FORMAT_VERSION);
  setFormat(path, FORMAT_VERSION + 1);
  renameSync(`${path}/format-${FORMAT_VERSION + 1}`, ours);
  const { log, text } = warnings();
  const up = await storeIn(path, { log });
  t.after(() => up.close());
  assert.match(text(), /taken up again/);
  assert.deepEqual(await goodPieces(up.disk, blob), ALL);
  assert.deepEqual(await goodPieces(up.disk, late), []);
  assert.equal(existsSync(ours), false);
  assert.ok(existsSync(`${path}/format-${FORMAT_VERSION + 1}/index.db`));
});

test('what was set aside goes first when room is needed, and then no more of ours than must', async (t) => {
  const { path } = await tempFolder(t);
  const first = await storeIn(path);
  for (let n = 0; n < 8; n += 1) await putAll(first, blobOf(MIB, n));
  await first.close();
  setFormat(path, FORMAT_VERSION + 1);
  const maxBytes = 10 * MIB;
  const store = await storeIn(path, { maxBytes });
  t.after(() => store.close());
  const mine = Array.from({ length: 7 }, (_, n) => blobOf(MIB, `mine ${n}`));
  for (const one of mine) {
    assert.equal(await putPiece(store, one, 0), 'stored');
    assert.ok(allocatedIn(path) <= maxBytes);
  }
  for (const one of mine) assert.deepEqual(await goodPieces(store.disk, one), [0]);
  const left = readdirSync(`${path}/format-${FORMAT_VERSION + 1}/segments`).length;
  assert.ok(left < 8, `${left} files of the other format are left`);
});

test('a start that was interrupted between setting aside and going on is gone on with', async (t) => {
  const { path } = await tempFolder(t);
  await filled(path);
  setFormat(path, FORMAT_VERSION + 1);
  // The segments are moved, the index is not.
  mkdirSync(`${path}/format-${FORMAT_VERSION + 1}`);
  renameSync(`${path}/segments`, `${path}/format-${FORMAT_VERSION + 1}/segments`);
  const store = await storeIn(path);
  t.after(() => store.close());
  assert.equal(store.usage().degraded, null);
  assert.equal(segmentFiles(`${path}/format-${FORMAT_VERSION + 1}`).length, 1);
  await putAll(store, blob);
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
});

test('a lock with garbage in it is taken, and still excludes', async (t) => {
  const { path } = await tempFolder(t);
  writeFileSync(`${path}/lock`, Buffer.alloc(10_000, 'garbage '));
  const store = await storeIn(path);
  t.after(() => store.close());
  assert.equal(store.usage().degraded, null);
  await assert.rejects(storeIn(path, { tuning: { lockWaitMs: 20 } }), (error) =>
    hasCode(error, 'cache-unusable'),
  );
});

test('a lock that was removed under its holder does not let a second one in', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  await putAll(store, blob);
  await store.flush();
  rmSync(`${path}/lock`);
  await assert.rejects(storeIn(path, { tuning: { lockWaitMs: 20 } }), (error) =>
    hasCode(error, 'cache-unusable'),
  );
  assert.deepEqual(await goodPieces(store.disk, blob), ALL);
});

test('a folder in the place of the lock: the node runs without a disk, and with it once that is gone', async (t) => {
  const { path } = await tempFolder(t);
  mkdirSync(`${path}/lock`);
  const { log, text } = warnings();
  const store = await storeIn(path, { log, tuning: { maintainMs: 20 } });
  t.after(() => store.close());
  assert.equal(store.usage().degraded, 'disk-error');
  assert.match(text(), /lock is not a file; remove it/);
  assert.equal(await putPiece(store, blob, 0), 'declined');
  rmSync(`${path}/lock`, { recursive: true });
  await eventually(() => store.usage().degraded === null);
  assert.equal(await putPiece(store, blob, 0), 'stored');
  assert.ok(statSync(`${path}/lock`).isFile());
  // Before its folder goes: it looks so often that it would make it anew.
  await store.close();
});
