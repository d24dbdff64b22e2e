import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { ReadContext } from '../../src/content/parts.ts';
import { Removals } from '../../src/content/removals.ts';
import { FakeOrigin, rig, settle, take, testBlob, upstream } from './fakes.ts';

const blob = testBlob(4 * PIECE_BYTES + 7);
const WHOLE = { whole: true, open: false };

function context(overrides: Partial<ReadContext> = {}): ReadContext {
  return { upstream: upstream(), urgency: 'demand', signal: AbortSignal.timeout(20_000), ...overrides };
}

test('a blob that nobody uses goes at once, and the next read fetches it again', async () => {
  const it = rig(new FakeOrigin([blob]));
  const span = { start: 0, end: blob.size };
  await take(it.content.read(blob, span, context(), WHOLE));
  await settle();
  assert.ok(it.content.isFinished(blob.digest));
  assert.equal(it.content.remove(blob.digest), true);
  assert.equal(it.content.isAnywhere(blob.digest), false);
  assert.ok((await take(it.content.read(blob, span, context(), WHOLE))).equals(blob.bytes));
  await settle();
  assert.equal(it.origin.bytesSent, 2 * blob.size);
  await it.content.close();
});

test('a blob that is being filled reaches its reader from one read of the origin, and is gone afterwards', async () => {
  const gate = Promise.withResolvers<void>();
  const it = rig(new FakeOrigin([blob], () => ({ hold: gate.promise, holdAt: 2 * PIECE_BYTES + 9 })));
  const reading = take(it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE));
  await settle();
  assert.equal(it.content.remove(blob.digest), false);
  assert.equal(it.content.remove(blob.digest), false);
  assert.ok(it.content.isAnywhere(blob.digest));
  gate.resolve();
  assert.ok((await reading).equals(blob.bytes));
  await settle();
  assert.equal(it.content.isAnywhere(blob.digest), false);
  assert.equal(it.origin.bytesSent, blob.size);
  await it.content.close();
});

test('what a flight still brings after its reader has hung up is gone as well', async () => {
  const gate = Promise.withResolvers<void>();
  const it = rig(new FakeOrigin([blob], () => ({ hold: gate.promise, holdAt: 2 * PIECE_BYTES - 9 })));
  const client = new AbortController();
  const reading = take(
    it.content.read(blob, { start: 0, end: blob.size }, context({ signal: client.signal }), WHOLE),
  );
  await settle();
  assert.equal(it.content.remove(blob.digest), false);
  client.abort(new Error('hung up'));
  await assert.rejects(reading, { message: 'hung up' });
  gate.resolve();
  await settle();
  assert.equal(it.content.isAnywhere(blob.digest), false);
  await it.content.close();
});

test('a prefetch under way is not told that the cache failed; what it brought is gone afterwards', async () => {
  const gate = Promise.withResolvers<void>();
  // More than one flight brings in a go.
  const large = testBlob(40 * PIECE_BYTES, 3);
  const it = rig(new FakeOrigin([large], () => ({ hold: gate.promise, holdAt: PIECE_BYTES + 9 })));
  const filling = it.content.fill(large, { start: 0, end: large.size }, context({ urgency: 'prefetch' }));
  await settle();
  assert.equal(it.content.remove(large.digest), false);
  gate.resolve();
  await filling;
  await settle();
  assert.equal(it.content.isAnywhere(large.digest), false);
  assert.equal(it.origin.bytesSent, large.size);
  await it.content.close();
});

test('who comes after the wish does not put it off', () => {
  const dropped: string[] = [];
  const removals = new Removals((digest) => dropped.push(digest));
  const first = removals.use(blob.digest);
  assert.equal(removals.remove(blob.digest), false);
  const second = removals.use(blob.digest);
  const third = removals.use(blob.digest);
  assert.deepEqual(dropped, []);
  first();
  assert.deepEqual(dropped, [blob.digest]);
  second();
  third();
  assert.deepEqual(dropped, [blob.digest]);
  assert.equal(removals.remove(blob.digest), true);
});
