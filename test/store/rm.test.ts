import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { hasCode } from '../../src/errors.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { blobOf, putAll, putPiece, storeIn } from './support.ts';

test('a dropped blob is off the disk and out of the index once that has settled, and nothing else is', async (t) => {
  const { path } = await tempFolder(t);
  writeFileSync(join(path, 'identity.key'), 'secret');
  const store = await storeIn(path);
  const [gone, kept] = [blobOf(20 * PIECE_BYTES, 'gone'), blobOf(100, 'kept')];
  await putAll(store, gone);
  await putAll(store, kept);
  await store.flush();
  assert.ok(store.care.diskBytes(gone.digest) >= gone.size);
  store.catalog.drop(gone.digest);
  await store.care.settled();
  assert.equal(readdirSync(join(path, 'segments')).length, 1);
  assert.equal(store.care.diskBytes(gone.digest), 0);
  await store.close();
  const again = await storeIn(path);
  t.after(() => again.close());
  assert.deepEqual(again.care.digests(), [kept.digest]);
  assert.equal(readFileSync(join(path, 'identity.key'), 'utf8'), 'secret');
});

test('a blob is found by its digest or an unmistakable beginning of it', async (t) => {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const blob = blobOf(10, 'a');
  await putAll(store, blob);
  const hex = blob.digest.slice('sha256:'.length);
  for (const text of [blob.digest, hex, hex.slice(0, 6), `sha256:${hex.slice(0, 9)}`])
    assert.equal(store.care.find(text), blob.digest, text);
  for (const text of ['', 'sha256:', hex.slice(0, 5), 'SHA256:ABCDEF', '../../etc', `${hex}zz`, 'sha256:*'])
    assert.throws(
      () => store.care.find(text),
      (error) => hasCode(error, 'digest-unclear'),
      text,
    );
  const absent = hex.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  for (const text of [absent, absent.slice(0, 8), `sha256:${absent}`, `sha512:${hex.slice(0, 8)}`])
    assert.throws(
      () => store.care.find(text),
      (error) => hasCode(error, 'blob-unknown'),
      text,
    );
  const twin = `sha256:${hex.slice(0, 60)}${hex.endsWith('0000') ? '1111' : '0000'}` as typeof blob.digest;
  store.catalog.record(twin, { size: 5, mediaType: undefined });
  assert.throws(
    () => store.care.find(hex.slice(0, 12)),
    (error) => hasCode(error, 'digest-unclear'),
  );
  assert.equal(store.care.find(hex), blob.digest);
});

test('what is here is listed a page at a time, the most recently read first', async (t) => {
  const { path } = await tempFolder(t);
  let nowMs = 1_000_000;
  const store = await storeIn(path, { tuning: { now: () => nowMs } });
  t.after(() => store.close());
  const blobs = Array.from({ length: 7 }, (_, n) => blobOf(PIECE_BYTES + n, n));
  for (const blob of blobs) {
    await putPiece(store, blob, 0);
    // Two of them at the same moment.
    if (blob !== blobs[3]) nowMs += 10_000;
  }
  store.catalog.record(blobOf(5, 'only its size').digest, { size: 5, mediaType: undefined });
  const seen: string[] = [];
  let after: string | undefined;
  for (let pages = 0; ; pages += 1) {
    assert.ok(pages < 4);
    const page = await store.care.list({ limit: 2, after });
    assert.equal(page.total.blobs, 7);
    seen.push(...page.blobs.map(({ digest }) => digest));
    if (page.next === null) break;
    after = page.next;
  }
  const newestFirst = [...blobs].reverse().map(({ digest }) => digest);
  assert.equal(new Set(seen).size, 7);
  assert.deepEqual([...seen].sort(), [...newestFirst].sort());
  assert.deepEqual(seen.slice(0, 2), newestFirst.slice(0, 2));
  const hex = newestFirst[0]?.slice('sha256:'.length, 20) ?? '';
  const [only, ...rest] = (await store.care.list({ limit: 10, digest: hex })).blobs;
  assert.equal(rest.length, 0);
  assert.deepEqual(
    { ...only, diskBytes: undefined },
    {
      digest: newestFirst[0],
      size: PIECE_BYTES + 6,
      mediaType: undefined,
      pieces: { present: 1, total: 2 },
      proven: false,
      lastReadMs: 1_050_000,
      diskBytes: undefined,
    },
  );
  assert.ok((only?.diskBytes ?? 0) >= PIECE_BYTES);
  await assert.rejects(store.care.list({ limit: 1, after: 'nonsense' }), (error) =>
    hasCode(error, 'request-malformed'),
  );
});
