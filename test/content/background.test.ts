import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Background } from '../../src/content/background.ts';

test('so much at once and no more, one of a kind, and a place is free again when one ends or fails', async () => {
  const background = new Background(2);
  const gates = new Map<string, PromiseWithResolvers<void>>();
  const run = (key: string): boolean => {
    const gate = Promise.withResolvers<void>();
    const isBegun = background.run(key, () => gate.promise);
    if (isBegun) gates.set(key, gate);
    return isBegun;
  };
  assert.deepEqual(['a', 'a', 'b', 'c'].map(run), [true, false, true, false]);
  gates.get('a')?.resolve();
  await setImmediate();
  assert.deepEqual(['c', 'a'].map(run), [true, false]);
  gates.get('b')?.resolve();
  await setImmediate();
  assert.equal(run('a'), true);
  for (const gate of gates.values()) gate.resolve();
});

test('closing ends what runs, waits for it, and lets nothing more begin', async () => {
  const background = new Background(4);
  const reason = new Error('stopping');
  const ended: unknown[] = [];
  background.run('a', async (signal) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await setImmediate();
    ended.push(signal.reason);
  });
  await background.close(reason);
  assert.deepEqual(ended, [reason]);
  assert.equal(
    background.run('b', async () => undefined),
    false,
  );
});
