import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { Distrust } from '../../../peer/trust/distrust.ts';
import { blobOf, ELSEWHERE, REALM } from './support.ts';

const [A, B, C, D, E] = ['a', 'b', 'c', 'd', 'e'].map((name) => name as PeerId) as [
  PeerId,
  PeerId,
  PeerId,
  PeerId,
  PeerId,
];
const digest = blobOf(2).digest;

function make() {
  const clock = { nowMs: 0 };
  return { clock, distrust: new Distrust(() => clock.nowMs) };
}

test('what is heard counts on that blob in that realm, for ten minutes', () => {
  const { clock, distrust } = make();
  assert.equal(distrust.heard(A, REALM, digest, B), true);
  assert.equal(distrust.weight(REALM, digest, B), 'contests');
  assert.equal(distrust.weight(REALM, blobOf(2, 'other').digest, B), 'counts');
  assert.equal(distrust.weight(ELSEWHERE, digest, B), 'counts');
  assert.equal(distrust.weight(REALM, digest, A), 'counts');
  clock.nowMs = 600_000;
  assert.equal(distrust.weight(REALM, digest, B), 'counts');
});

test('an accuser is heard on three members at a time', () => {
  const { clock, distrust } = make();
  assert.deepEqual(
    [B, C, D, E].map((by) => distrust.heard(A, REALM, digest, by)),
    [true, true, true, false],
  );
  assert.equal(distrust.weight(REALM, digest, E), 'counts');
  assert.equal(distrust.heard(B, REALM, digest, E), true, 'another may say so');
  clock.nowMs = 600_000;
  assert.equal(distrust.heard(A, REALM, digest, E), true);
});

test('and on 64 blobs', () => {
  const { distrust } = make();
  const heard = Array.from({ length: 70 }, (_, n) => distrust.heard(A, REALM, blobOf(2, `${n}`).digest, B));
  assert.equal(heard.filter(Boolean).length, 64);
});

test('whoever takes its own word back is always heard', () => {
  const { distrust } = make();
  const heard = Array.from({ length: 70 }, (_, n) => distrust.heard(A, REALM, blobOf(2, `${n}`).digest, A));
  assert.equal(heard.filter(Boolean).length, 70);
});

test('who is caught in a realm is not believed there, and is elsewhere', () => {
  const { clock, distrust } = make();
  distrust.caught(REALM, B);
  assert.equal(distrust.weight(REALM, blobOf(2, 'any').digest, B), 'ignored');
  assert.equal(distrust.weight(ELSEWHERE, digest, B), 'counts');
  clock.nowMs = 3_600_000;
  assert.equal(distrust.weight(REALM, digest, B), 'counts');
});
