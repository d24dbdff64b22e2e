import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arrivals } from '../../../peer/swarm/arrivals.ts';
import { digestOf } from '../../../src/blob/digest.ts';

const digest = digestOf(Buffer.from('arrivals'));
const { signal } = new AbortController();

test('a piece that is not on its way is not waited for', async () => {
  const arrivals = new Arrivals();
  assert.equal(await arrivals.wait(digest, 0, 60_000, signal), false);
  arrivals.expect(digest, 1);
  assert.equal(await arrivals.wait(digest, 0, 60_000, signal), false);
});

test('everybody who waits hears when it is here', async () => {
  const arrivals = new Arrivals();
  const over = arrivals.expect(digest, 0);
  const waits = [1, 2, 3].map(() => arrivals.wait(digest, 0, 60_000, signal));
  arrivals.arrived(digest, 0);
  over();
  assert.deepEqual(await Promise.all(waits), [true, true, true]);
  assert.equal(arrivals.isExpected(digest, 0), false);
});

test('everybody who waits hears when the last way that it could come has ended', async () => {
  const arrivals = new Arrivals();
  const [first, second] = [arrivals.expect(digest, 0), arrivals.expect(digest, 0)];
  const wait = arrivals.wait(digest, 0, 60_000, signal);
  first();
  first();
  assert.equal(arrivals.isExpected(digest, 0), true);
  second();
  assert.equal(await wait, false);
});

test('waits end by their time, their signal, and when there are too many', async () => {
  const arrivals = new Arrivals(2);
  arrivals.expect(digest, 0);
  const abort = new AbortController();
  const waits = [arrivals.wait(digest, 0, 5, signal), arrivals.wait(digest, 0, 60_000, abort.signal)];
  assert.equal(await arrivals.wait(digest, 0, 60_000, signal), false);
  abort.abort();
  assert.deepEqual(await Promise.all(waits), [false, false]);
  // Both have left, so there is room again.
  const wait = arrivals.wait(digest, 0, 60_000, signal);
  arrivals.arrived(digest, 0);
  assert.equal(await wait, true);
});
