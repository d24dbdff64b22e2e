import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DamselflyError } from '../../src/errors.ts';
import { RecentErrors } from '../../src/observe/recent-errors.ts';

function makeRing(capacity?: number) {
  const clock = { nowMs: 0 };
  return { clock, ring: new RecentErrors({ capacity, now: () => clock.nowMs }) };
}

test('keeps code, message, time and remedy', () => {
  const { clock, ring } = makeRing();
  clock.nowMs = 1000;
  ring.add(new DamselflyError('origin-timeout', 'no answer in 2 s'), 'look at the network');
  assert.deepEqual(ring.list(), [
    {
      at: new Date(1000).toISOString(),
      code: 'origin-timeout',
      message: 'no answer in 2 s',
      remedy: 'look at the network',
      count: 1,
    },
  ]);
});

test('forgets the oldest when it is full', () => {
  const { ring } = makeRing(3);
  for (const message of ['a', 'b', 'c', 'd']) ring.add(new DamselflyError('deadline', message));
  assert.deepEqual(
    ring.list().map((entry) => entry.message),
    ['b', 'c', 'd'],
  );
});

test('a repeated error is counted and moves to the end, and washes nothing away', () => {
  const { clock, ring } = makeRing(3);
  ring.add(new DamselflyError('deadline', 'a'));
  ring.add(new DamselflyError('deadline', 'b'));
  clock.nowMs = 9000;
  for (let i = 0; i < 1000; i++) ring.add(new DamselflyError('deadline', 'a'));
  assert.deepEqual(
    ring.list().map((entry) => [entry.message, entry.count]),
    [
      ['b', 1],
      ['a', 1001],
    ],
  );
  assert.equal(ring.list()[1]?.at, new Date(9000).toISOString());
});

test('the text of a foreign error is not shown', () => {
  const { ring } = makeRing();
  ring.add(new TypeError('Authorization: Bearer secret'));
  ring.add('secret');
  const text = JSON.stringify(ring.list());
  assert.doesNotMatch(text, /secret/);
  assert.deepEqual(
    ring.list().map((entry) => [entry.code, entry.message]),
    [
      ['internal', 'unexpected TypeError; see the log'],
      ['internal', 'unexpected string; see the log'],
    ],
  );
});

test('queries and user names of URLs are cut out of messages, and long ones are cut off', () => {
  const { ring } = makeRing();
  ring.add(
    new DamselflyError(
      'origin-broken',
      'GET https://u:pw@host:5000/v2/a?sig=secret failed, see http://x/#tok',
    ),
  );
  ring.add(new DamselflyError('origin-broken', 'x'.repeat(10_000)));
  assert.equal(ring.list()[0]?.message, 'GET https://host:5000/v2/a failed, see http://x/');
  assert.equal(ring.list()[1]?.message.length, 500);
});
