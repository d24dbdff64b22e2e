import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Claim } from '../../../peer/trust/claims.ts';
import { SuspectBlobs } from '../../../peer/trust/suspect-blobs.ts';
import { blobOf, ELSEWHERE, factOf, Keys, sha256Of } from './support.ts';

const BLOB = blobOf(4);
const keys = new Keys();

function claim(by: string, piece: number, version = 0, kind: 'attested' | 'proven' = 'attested'): Claim {
  const fact = factOf(BLOB, piece, version);
  return { fact, voucher: keys.notary(by).vouch(kind, fact) };
}

function make() {
  const clock = { nowMs: 0 };
  return { clock, suspects: new SuspectBlobs(() => clock.nowMs) };
}

test('a blob that did not match is taken from the origin, or on the proven word of others', () => {
  const { suspects } = make();
  const attested = claim('c', 0).voucher;
  assert.equal(suspects.mayTake(BLOB.digest, attested), true);
  suspects.mismatched(BLOB, [claim('a', 0), claim('b', 1, 1)]);
  assert.equal(suspects.isSuspect(BLOB.digest), true);
  assert.equal(suspects.isSuspect(blobOf(4, 'other').digest), false);
  assert.equal(suspects.mayTake(BLOB.digest, attested), false);
  assert.equal(suspects.mayTake(BLOB.digest, claim('c', 0, 0, 'proven').voucher), true);
  assert.equal(suspects.mayTake(BLOB.digest, claim('b', 0, 0, 'proven').voucher), false);
});

test("the origin's bytes name who vouched for others, once", () => {
  const { suspects } = make();
  suspects.mismatched(BLOB, [claim('a', 0), claim('b', 1, 1)]);
  assert.deepEqual(suspects.readFromOrigin(factOf(BLOB, 0)), []);
  assert.deepEqual(suspects.readFromOrigin(factOf(BLOB, 1, 0, ELSEWHERE)), [], 'another origin names nobody');
  assert.deepEqual(suspects.readFromOrigin(factOf(BLOB, 1)), [claim('b', 1, 1)]);
  assert.deepEqual(suspects.readFromOrigin(factOf(BLOB, 1)), []);
  assert.deepEqual(suspects.readFromOrigin(factOf(BLOB, 2)), []);
});

test('a proof names the rest, and ends it', () => {
  const { suspects } = make();
  suspects.mismatched(BLOB, [claim('a', 0), claim('b', 1, 1), claim('b', 2, 1)]);
  suspects.readFromOrigin(factOf(BLOB, 1));
  assert.deepEqual(
    suspects.proven(BLOB, (piece) => sha256Of(BLOB, piece)),
    [claim('b', 2, 1)],
  );
  assert.equal(suspects.isSuspect(BLOB.digest), false);
});

test('after a second failure no word is good enough, and both attempts are compared', () => {
  const { suspects } = make();
  suspects.mismatched(BLOB, [claim('b', 1, 1)]);
  suspects.mismatched(BLOB, [claim('c', 1, 2, 'proven')]);
  assert.equal(suspects.mayTake(BLOB.digest, claim('d', 0, 0, 'proven').voucher), false);
  const named = suspects.proven(BLOB, (piece) => sha256Of(BLOB, piece)).map(({ voucher }) => voucher.by);
  assert.deepEqual(named, ['b', 'c']);
});

test('when all came from the origin nobody is named', () => {
  const { suspects } = make();
  suspects.mismatched(BLOB, []);
  assert.equal(suspects.isSuspect(BLOB.digest), true);
  assert.deepEqual(
    suspects.proven(BLOB, (piece) => sha256Of(BLOB, piece)),
    [],
  );
});

test('a blob that nobody reads again is forgotten after an hour', () => {
  const { clock, suspects } = make();
  suspects.mismatched(BLOB, [claim('b', 1, 1)]);
  clock.nowMs = 3_600_000;
  assert.equal(suspects.isSuspect(BLOB.digest), false);
  assert.deepEqual(suspects.readFromOrigin(factOf(BLOB, 1)), []);
});
