import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ticket } from '../../../peer/hunt/actions.ts';
import { type Waiter, Waiters } from '../../../peer/swarm/waiters.ts';

const waiter = (ticket: number, key: string): Waiter => ({
  ticket: ticket as unknown as Ticket,
  key,
  settle: () => undefined,
});

test('who waits is found by ticket and by piece, the first one first, until it leaves', () => {
  const waiters = new Waiters();
  const [one, two, other] = [waiter(1, 'a'), waiter(2, 'a'), waiter(3, 'b')];
  for (const each of [one, two, other]) waiters.add(each);
  assert.equal(waiters.of(two.ticket), two);
  assert.equal(waiters.first('a'), one);
  assert.deepEqual(waiters.forPiece('a'), [one, two]);
  assert.equal(waiters.all().length, 3);
  waiters.remove(one);
  waiters.remove(one);
  assert.equal(waiters.of(one.ticket), undefined);
  assert.equal(waiters.first('a'), two);
  waiters.remove(two);
  assert.equal(waiters.first('a'), undefined);
  assert.deepEqual(waiters.forPiece('a'), []);
  assert.deepEqual(waiters.all(), [other]);
});

test('whoever is settled may leave while all are gone through', () => {
  const waiters = new Waiters();
  for (let n = 0; n < 3; n += 1) waiters.add(waiter(n, 'a'));
  let seen = 0;
  for (const each of waiters.forPiece('a')) {
    waiters.remove(each);
    seen += 1;
  }
  assert.equal(seen, 3);
  assert.deepEqual(waiters.all(), []);
});
