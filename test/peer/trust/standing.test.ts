import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { type Quarantine, Standing } from '../../../peer/trust/standing.ts';

const A = 'a' as PeerId;
const B = 'b' as PeerId;
const MINUTE_MS = 60_000;

function makeStanding() {
  const clock = { nowMs: 1_000 };
  const began: Quarantine[] = [];
  const standing = new Standing({ now: () => clock.nowMs, onQuarantine: (one) => began.push(one) });
  return { clock, began, standing };
}

test('a member of whom nothing is known is as good as can be', () => {
  const { standing } = makeStanding();
  assert.equal(standing.score(A), 1);
  assert.equal(standing.isAvoided(A), false);
});

test('troubles lower the score, and half of them are forgotten in half a minute', () => {
  const { standing, clock } = makeStanding();
  standing.note(A, 'failed');
  assert.equal(standing.score(A), 1 / 2);
  standing.note(B, 'slow');
  assert.ok(standing.score(B) > standing.score(A));
  clock.nowMs += 30_000;
  assert.equal(standing.score(A), 1 / 1.5);
  standing.note(A, 'failed');
  assert.equal(standing.score(A), 1 / 2.5);
});

test('many failures in a row rest a member, each time for longer, and its word stays good', () => {
  const { standing, clock, began } = makeStanding();
  const restMs: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    for (let n = 0; n < 4; n += 1) standing.note(A, 'failed');
    assert.equal(standing.isAvoided(A), false);
    standing.note(A, 'failed');
    assert.equal(standing.isAvoided(A), true);
    assert.equal(standing.isQuarantined(A), false);
    assert.equal(standing.score(A), 0);
    const from = clock.nowMs;
    while (standing.isAvoided(A)) clock.nowMs += 1_000;
    restMs.push(clock.nowMs - from);
  }
  assert.deepEqual(restMs, [5_000, 10_000, 20_000]);
  assert.deepEqual(began, []);
});

test('failures far apart, or between many good pieces, rest nobody', () => {
  const { standing, clock } = makeStanding();
  for (let n = 0; n < 50; n += 1) {
    standing.note(A, 'failed');
    clock.nowMs += MINUTE_MS;
    standing.note(B, 'failed');
    for (let piece = 0; piece < 10; piece += 1) standing.delivered(B);
  }
  assert.equal(standing.isAvoided(A), false);
  assert.equal(standing.isAvoided(B), false);
});

test('wrong bytes quarantine at once, for a time that grows and ends', () => {
  const { standing, clock, began } = makeStanding();
  const terms: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    standing.note(A, 'wrong');
    standing.note(A, 'wrong');
    assert.equal(standing.isQuarantined(A), true);
    assert.equal(standing.quarantines()[0]?.why, 'wrong');
    const from = clock.nowMs;
    while (standing.isQuarantined(A)) clock.nowMs += MINUTE_MS;
    terms.push((clock.nowMs - from) / MINUTE_MS);
  }
  assert.deepEqual(terms, [1, 4, 16]);
  assert.equal(began.length, 3, 'told once each time');
  assert.deepEqual(standing.quarantines(), []);
});

test('one discovery is one strike, and a worse one counts beside the first', () => {
  const { standing, clock, began } = makeStanding();
  standing.note(A, 'wrong');
  standing.note(A, 'lied');
  for (let n = 0; n < 100; n += 1) standing.note(A, n % 2 === 0 ? 'lied' : 'wrong');
  assert.deepEqual(
    began.map(({ why, forMs }) => [why, forMs / MINUTE_MS]),
    [
      ['wrong', 1],
      ['lied', 40],
    ],
  );
  clock.nowMs += 40 * MINUTE_MS;
  assert.equal(standing.isQuarantined(A), false);
});

test('it lasts a day at most, and after a quiet day all is forgotten', () => {
  const { standing, clock, began } = makeStanding();
  for (let n = 0; n < 8; n += 1) {
    standing.note(A, 'lied');
    while (standing.isQuarantined(A)) clock.nowMs += 10 * MINUTE_MS;
  }
  assert.equal(began.at(-1)?.forMs, 24 * 60 * MINUTE_MS);
  clock.nowMs += 24 * 60 * MINUTE_MS;
  standing.note(A, 'lied');
  assert.equal(began.at(-1)?.forMs, 10 * MINUTE_MS);
});
