import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { StoreOptions } from '../../src/store/store.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { tempFolder } from '../support/temp-folder.ts';
import {
  blobOf,
  copyLive,
  goodPieces,
  metricValue,
  putAll,
  putPiece,
  segmentFiles,
  storeIn,
} from './support.ts';

/** Two of one size, so that their rows and files are alike. */
const blobs = [
  blobOf(2 * PIECE_BYTES, 'one'),
  blobOf(2 * PIECE_BYTES, 'other'),
  blobOf(17 * PIECE_BYTES + 9, 'long'),
] as const;
const [one, other, long] = blobs;

/** A filled cache directory, closed in order. Made once and copied: damage costs a copy, not a fill. */
async function filledCopy(t: TestContext): Promise<string> {
  const folder = await tempFolder(t);
  template ??= makeTemplate();
  const from = await template;
  // Links to the data: nothing here writes into a file that it found.
  cpSync(from.path, folder.path, { recursive: true, filter: (path) => !path.includes('/segments/') });
  for (const file of segmentFiles(from.path)) linkSync(file, join(folder.path, 'segments', basename(file)));
  return folder.path;
}

let template: Promise<Awaited<ReturnType<typeof tempFolder>>> | undefined;
test.after(async () => (await template)?.remove());

async function makeTemplate(): Promise<Awaited<ReturnType<typeof tempFolder>>> {
  const folder = await tempFolder();
  const store = await storeIn(folder.path);
  for (const blob of blobs) {
    store.catalog.record(blob.digest, { size: blob.size, mediaType: 'application/x-test' });
    await putAll(store, blob);
    store.catalog.markProven(blob.digest);
  }
  store.facts.put('tag', { key: 'k', value: 'v', expiresAtMs: Number.POSITIVE_INFINITY });
  await store.close();
  return folder;
}

/**
 * Whatever happened to the index: nothing that is served or told is wrong, and the cache works.
 * @returns how many pieces are still here.
 */
async function assertSound(path: string, what: string, options: Partial<StoreOptions> = {}): Promise<number> {
  const store = await storeIn(path, options);
  try {
    assert.equal(store.usage().degraded, null, `${what}: the cache is not used`);
    let kept = 0;
    for (const blob of blobs) {
      const told = store.catalog.describe(blob.digest);
      if (told !== undefined) {
        assert.equal(told.size, blob.size, `${what}: another size`);
        assert.ok([undefined, 'application/x-test'].includes(told.mediaType), `${what}: ${told.mediaType}`);
      }
      kept += (await goodPieces(store.disk, blob)).length;
    }
    assert.ok(
      store.facts.load('tag').every(({ key, value }) => key === 'k' && value === 'v'),
      what,
    );
    assert.equal(await putPiece(store, one, 0), 'stored', what);
    assert.deepEqual((await goodPieces(store.disk, one)).includes(0), true, what);
    return kept;
  } finally {
    await store.close();
  }
}

function flipIn(file: string, at: number, bit: number): void {
  const bytes = readFileSync(file);
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
  writeFileSync(file, bytes);
}

function edit(path: string, sql: string): void {
  const db = new DatabaseSync(`${path}/index.db`);
  db.exec(sql);
  db.close();
}

test('a bit flipped anywhere in the index leads to no wrong byte, size or type', async (t) => {
  const path = await filledCopy(t);
  const random = new Random('index flips');
  const size = statSync(`${path}/index.db`).size;
  // Every third byte of the header, then anywhere.
  const places = [
    ...Array.from({ length: 34 }, (_, n) => 3 * n),
    ...Array.from({ length: 36 }, () => random.integer(0, size)),
  ];
  let kept = 0;
  for (const at of places) {
    const copy = await filledCopy(t);
    const bit = random.integer(0, 8);
    flipIn(`${copy}/index.db`, at, bit);
    kept += await assertSound(copy, `bit ${bit} of byte ${at}`);
    rmSync(copy, { recursive: true });
  }
  assert.ok(kept > places.length, 'nothing was ever kept');
});

const COLUMNS = [
  ['a segment given to another blob', 'UPDATE segment SET blob_id = 3 - blob_id WHERE blob_id < 3'],
  ['segments exchanged between blobs', ''],
  [
    'a segment at another place',
    'UPDATE segment SET segment = 1 - segment + 5 WHERE segment = 0 AND digests IS NOT NULL',
  ],
  ['another size', 'UPDATE blob SET size = size + 1'],
  ['a size of a piece less', 'UPDATE blob SET size = size - 1048576'],
  ['another media type', "UPDATE blob SET media_type = 'text/html'"],
  ['another digest', "UPDATE blob SET digest = 'sha256:' || substr(digest, 9) || '0'"],
  ['more pieces than are there', 'UPDATE segment SET present = 65535'],
  ['an impossible number', 'UPDATE segment SET present = 9223372036854775807'],
  ['files exchanged', ''],
  ['a fact changed', "UPDATE fact SET value = 'w'"],
] as const;

for (const [what, sql] of COLUMNS) {
  test(`rows that say what was never written, ${what}, are found`, async (t) => {
    const path = await filledCopy(t);
    if (what === 'segments exchanged between blobs') exchange(path, 'blob_id');
    else if (what === 'files exchanged') exchange(path, 'file');
    else edit(path, sql);
    await assertSound(path, what);
  });
}

/** Exchanges one column between the only segments of the two blobs of one size. */
function exchange(path: string, column: string): void {
  const db = new DatabaseSync(`${path}/index.db`);
  const ids = [one, other].map(({ digest }) =>
    Number(db.prepare('SELECT id FROM blob WHERE digest = ?').get(digest)?.id),
  );
  const [a = 0, b = 0] = ids;
  const columnOf = (id: number) =>
    db.prepare(`SELECT ${column} AS v FROM segment WHERE blob_id = ?`).get(id)?.v ?? null;
  const [left, right] = [columnOf(a), columnOf(b)];
  const set = db.prepare(`UPDATE segment SET ${column} = ? WHERE blob_id = ?`);
  if (column === 'blob_id') {
    set.run(-1, a);
    set.run(a, b);
    set.run(b, -1);
  } else {
    set.run(right, a);
    set.run(left, b);
  }
  db.close();
}

test('damaged rows are counted, and told in the log', async (t) => {
  const path = await filledCopy(t);
  edit(path, 'UPDATE segment SET digests = zeroblob(length(digests)) WHERE segment = 1');
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  const store = await storeIn(path, { log });
  t.after(() => store.close());
  assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), 2);
  assert.ok(
    lines.some((line) => /1 segments were damaged/.test(line)),
    lines.join(''),
  );
  assert.equal((await goodPieces(store.disk, long)).length, 16);
  assert.equal(store.catalog.isProven(long.digest), false);
});

const GARBAGE = Buffer.alloc(40_000, 'garbage ');
const PLACED: Record<string, (path: string) => void> = {
  'cut to nothing': (path) => writeFileSync(`${path}/index.db`, ''),
  'cut within the header': (path) => cut(`${path}/index.db`, 50),
  'cut after one page': (path) => cut(`${path}/index.db`, 4096),
  'cut in the middle': (path) => cut(`${path}/index.db`, Math.floor(statSync(`${path}/index.db`).size / 2)),
  'cut by one byte': (path) => cut(`${path}/index.db`, statSync(`${path}/index.db`).size - 1),
  'garbage as a whole': (path) => writeFileSync(`${path}/index.db`, GARBAGE),
  'garbage in the middle': (path) => overwrite(`${path}/index.db`, 4096 + 100, GARBAGE.subarray(0, 5000)),
  'zeros in the middle': (path) => overwrite(`${path}/index.db`, 4096, Buffer.alloc(8192)),
  'garbage behind it': (path) => writeFileSync(`${path}/index.db`, GARBAGE, { flag: 'a' }),
  'garbage for its log': (path) => writeFileSync(`${path}/index.db-wal`, GARBAGE),
  'an empty log': (path) => writeFileSync(`${path}/index.db-wal`, ''),
  'garbage for a rollback journal': (path) => writeFileSync(`${path}/index.db-journal`, GARBAGE),
  'garbage for its shared memory': (path) => writeFileSync(`${path}/index.db-shm`, GARBAGE),
  deleted: (path) => rmSync(`${path}/index.db`),
  'a folder in its place': (path) => {
    rmSync(`${path}/index.db`);
    mkdirSync(`${path}/index.db/within`, { recursive: true });
  },
  'a pipe in its place': (path) => {
    rmSync(`${path}/index.db`);
    execFileSync('mkfifo', [`${path}/index.db`]);
  },
  'a folder in the place of its log': (path) => mkdirSync(`${path}/index.db-wal`),
  'garbage in the lock': (path) => writeFileSync(`${path}/lock`, GARBAGE),
  'files of others between the segments': (path) => {
    writeFileSync(`${path}/segments/README`, 'not ours');
    mkdirSync(`${path}/segments/folder/deep`, { recursive: true });
    execFileSync('mkfifo', [`${path}/segments/pipe`]);
  },
};

for (const [what, damage] of Object.entries(PLACED)) {
  test(`an index with ${what}: nothing wrong is served, and the cache works again`, async (t) => {
    const path = await filledCopy(t);
    damage(path);
    await assertSound(path, what);
    // And once more, with what the first start left behind.
    assert.ok((await assertSound(path, `${what}, again`)) >= 1);
  });
}

function cut(file: string, bytes: number): void {
  writeFileSync(file, readFileSync(file).subarray(0, bytes));
}

function overwrite(file: string, at: number, bytes: Uint8Array): void {
  const whole = readFileSync(file);
  whole.set(bytes.subarray(0, Math.max(0, whole.length - at)), at);
  writeFileSync(file, whole);
}

test('a log that is cut or torn at any place after a kill leads to no wrong byte', async (t) => {
  const path = await filledCopy(t);
  // As a kill leaves it: with a log that was not folded in.
  const store = await storeIn(path, { tuning: { indexDelayMs: 1 } });
  const late = blobOf(5 * PIECE_BYTES, 'late');
  for (let piece = 0; piece < 5; piece += 1) {
    await putPiece(store, late, piece);
    await store.flush();
  }
  store.catalog.drop(other.digest);
  await store.flush();
  // The index does not wait for files to be unlinked.
  const [, hex = ''] = other.digest.split(':');
  await eventually(() => !segmentFiles(path).some((file) => basename(file).startsWith(hex)));
  copyLive(path, `${path}-killed`);
  t.after(() => rmSync(`${path}-killed`, { recursive: true }));
  await store.close();
  const wal = readFileSync(`${path}-killed/index.db-wal`);
  assert.ok(wal.length > 10_000, 'there is no log to be torn');
  const random = new Random('torn log');
  for (let round = 0; round < 12; round += 1) {
    const copy = `${path}-torn`;
    cpSync(`${path}-killed`, copy, { recursive: true });
    const at = random.integer(0, wal.length);
    if (round % 2 === 0) cut(`${copy}/index.db-wal`, at);
    else overwrite(`${copy}/index.db-wal`, at, GARBAGE.subarray(0, random.integer(1, 9000)));
    const again = await storeIn(copy);
    try {
      for (const blob of [...blobs, late]) await goodPieces(again.disk, blob);
      assert.equal(again.usage().degraded, null);
      assert.equal(await putPiece(again, other, 0), 'stored');
    } finally {
      await again.close();
    }
    rmSync(copy, { recursive: true });
  }
});

test('an older index over newer data, and the other way round, serve nothing wrong', async (t) => {
  const path = await filledCopy(t);
  const backup = `${path}/backup`;
  mkdirSync(backup);
  copyFileSync(`${path}/index.db`, `${backup}/old.db`);
  // Everything is dropped and comes again in another order, in part, with other blobs beside it.
  const store = await storeIn(path);
  for (const blob of blobs) store.catalog.drop(blob.digest);
  for (const blob of [long, other]) await putPiece(store, blob, 1);
  await putAll(store, blobOf(2 * PIECE_BYTES, 'third'));
  await store.close();
  cpSync(`${path}/segments`, `${backup}/segments`, { recursive: true });
  copyFileSync(`${path}/index.db`, `${backup}/new.db`);
  copyFileSync(`${backup}/old.db`, `${path}/index.db`);
  assert.equal(await assertSound(path, 'old index, new data'), 0);

  // Old data under the new index: files that it names are not there.
  const first = await filledCopy(t);
  copyFileSync(`${backup}/new.db`, `${first}/index.db`);
  assert.equal(await assertSound(first, 'new index, old data'), 0);
});

for (const [what, damage] of [
  ['removed', (path: string) => rmSync(`${path}/index.db`)],
  [
    'replaced by an older one',
    (path: string) => {
      copyFileSync(`${path}/index.db`, `${path}/other.db`);
      rmSync(`${path}/index.db`);
      copyFileSync(`${path}/other.db`, `${path}/index.db`);
    },
  ],
] as const) {
  test(`an index that is ${what} while the node runs is written anew, with all that is here`, async (t) => {
    const path = await filledCopy(t);
    const lines: string[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
    const store = await storeIn(path, { log, tuning: { maintainMs: 20, indexDelayMs: 1 } });
    t.after(() => store.close());
    damage(path);
    const late = blobOf(PIECE_BYTES, 'late');
    await putAll(store, late);
    await eventually(() => lines.some((line) => line.includes('written anew')));
    await eventually(() => store.usage().degraded === null);
    await store.close();
    const again = await storeIn(path);
    t.after(() => again.close());
    for (const blob of [...blobs, late])
      assert.equal((await goodPieces(again.disk, blob)).length, Math.ceil(blob.size / PIECE_BYTES), what);
  });
}

test('an index that is overwritten with garbage while the node runs is written anew', async (t) => {
  const path = await filledCopy(t);
  const store = await storeIn(path, { tuning: { indexDelayMs: 1, probeMs: 20 } });
  t.after(() => store.close());
  // In place: the open database sees it, as soon as it looks at a page that it does not hold.
  writeFileSync(`${path}/index.db`, Buffer.alloc(statSync(`${path}/index.db`).size, 'garbage '), {
    flag: 'r+',
  });
  for (const suffix of ['-wal']) writeFileSync(`${path}/index.db${suffix}`, '');
  const late = blobOf(3 * PIECE_BYTES, 'late');
  await eventually(async () => (await putPiece(store, late, 0)) === 'stored');
  for (let n = 0; n < 200; n += 1)
    store.facts.put('tag', { key: `${n}`, value: 'x'.repeat(1000), expiresAtMs: 1e15 });
  await store.flush();
  await eventually(async () => (await putPiece(store, late, 1)) === 'stored');
  assert.equal((await goodPieces(store.disk, long)).length, 18);
  await store.close();
  const again = await storeIn(path);
  t.after(() => again.close());
  // Rebuilt, or found to be damaged now: never wrong.
  for (const blob of [...blobs, late]) await goodPieces(again.disk, blob);
  assert.equal(await putPiece(again, late, 2), 'stored');
  assert.ok(segmentFiles(path).length > 0);
});
