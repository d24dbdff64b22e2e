import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LoopClock } from '../../../peer/swarm/loop-clock.ts';

test('time goes on while the loop does, and hardly while it stands still', () => {
  let raw = 1_000;
  const clock = new LoopClock({ raw: () => raw, isTicking: false });
  const began = clock.now();
  for (let n = 0; n < 40; n += 1) {
    raw += 25;
    clock.look();
  }
  assert.equal(clock.now() - began, 1_000);
  raw += 5_000;
  // Also before the next look: what is due is judged by timers that come in the same turn.
  assert.equal(clock.now() - began, 1_050);
  clock.look();
  assert.equal(clock.now() - began, 1_050);
  raw += 10;
  assert.equal(clock.now() - began, 1_060);
});

test('it never goes back, and never runs faster', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.boolean())), (steps) => {
      let raw = 0;
      const clock = new LoopClock({ raw: () => raw, isTicking: false });
      let before = clock.now();
      for (const [passed, isLook] of steps) {
        raw += passed;
        if (isLook) clock.look();
        const now = clock.now();
        assert.ok(now >= before && now - before <= passed);
        before = now;
      }
    }),
  );
});
