import assert from 'node:assert/strict';
import test from 'node:test';
import { seededDigest, startOrigin } from '../origin.ts';
import { BlobReader } from './blob-reader.ts';

const SIZE = 300_000;
const SEED = 'reader';

async function stage(t: test.TestContext) {
  const origin = await startOrigin();
  t.after(() => origin.close());
  const blob = origin.repository('lab/app').addBlob({ size: SIZE, seed: SEED });
  const job = {
    url: origin.url + blob.path,
    blob: { size: SIZE, seed: SEED },
    startAtMs: 0,
    timeoutMs: 10_000,
  };
  return { origin, job, reader: new BlobReader() };
}

test('a whole blob is hashed, and resumed where it was cut', async (t) => {
  const { origin, job, reader } = await stage(t);
  origin.fault({ match: { times: 1 }, action: { resetAtByte: 100_000 } });
  const outcome = await reader.read({ ...job, lanes: [[null]] });
  assert.deepEqual(outcome.wholes, [{ bytes: SIZE, digest: seededDigest(SEED, SIZE) }]);
  assert.equal(outcome.failure, null);
  assert.equal(outcome.retries, 1);
  assert.equal(outcome.firstByteMs.length, 1);
  assert.equal(reader.bytes, SIZE);
  assert.match(origin.requests[1]?.range ?? '', /^bytes=\d+-299999$/);
});

test('spans are compared byte by byte, lane by lane, and asked for again after a failure', async (t) => {
  const { origin, job, reader } = await stage(t);
  origin.fault({ match: { times: 1 }, action: { status: 503 } });
  const lanes = [
    [
      { start: 0, end: 1000 },
      { start: 5, end: 70_000 },
    ],
    [{ start: 299_000, end: SIZE }],
  ];
  const outcome = await reader.read({ ...job, lanes });
  assert.equal(outcome.wrongBytes, 0);
  assert.equal(outcome.bytes, 1000 + 69_995 + 1000);
  assert.equal(outcome.retries, 1);
  assert.equal(outcome.firstByteMs.length, 3);
});

test('wrong bytes are counted', async (t) => {
  const { origin, job, reader } = await stage(t);
  origin.fault({ action: { flipAtOffset: 5000 } });
  const outcome = await reader.read({
    ...job,
    lanes: [[{ start: 4000, end: 6000 }], [{ start: 0, end: 4000 }]],
  });
  assert.equal(outcome.wrongBytes, 1);
});

test('a read that does not come to an end says so, and what came of it', async (t) => {
  const { origin, job, reader } = await stage(t);
  origin.fault({ action: { stallAtByte: 1000 } });
  const outcome = await reader.read({ ...job, startAtMs: Date.now(), timeoutMs: 300, lanes: [[null]] });
  assert.match(outcome.failure ?? '', /not done within 0.3 s/);
  assert.deepEqual(outcome.wholes, [{ bytes: 1000, digest: seededDigest(SEED, 1000) }]);
});

test('an abandoned read ends at once', async (t) => {
  const { origin, job, reader } = await stage(t);
  origin.fault({ action: { neverAnswer: true } });
  const reading = reader.read({ ...job, startAtMs: Date.now(), lanes: [[null]] });
  reader.abandon();
  assert.equal((await reading).failure, 'abandoned');
});
