import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { UNANSWERED, waitFor } from '../../src/access/wait-for.ts';

const NEVER = new AbortController().signal;

test('a waiter gets the answer, what it failed with, or nothing in its time', async () => {
  assert.equal(await waitFor(Promise.resolve('yes'), NEVER, 1_000), 'yes');
  const trouble = new Error('trouble');
  await assert.rejects(waitFor(Promise.reject(trouble), NEVER, 1_000), trouble);
  assert.equal(await waitFor(new Promise(() => undefined), NEVER, 1), UNANSWERED);
});

test('a waiter that left before it came leaves no failure behind that nobody looks at', async () => {
  const gone = new Error('gone');
  await assert.rejects(waitFor(Promise.reject(new Error('late')), AbortSignal.abort(gone), 1_000), gone);
  const leaving = new AbortController();
  const waiting = waitFor(
    setImmediate().then(() => Promise.reject(new Error('later'))),
    leaving.signal,
    1_000,
  );
  leaving.abort(gone);
  await assert.rejects(waiting, gone);
  // An unhandled rejection, which ends a node, fails this file.
  await setImmediate();
  await setImmediate();
});
