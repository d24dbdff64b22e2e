import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BREAKER_THRESHOLD, Breaker, PROBE_INTERVAL_MS } from '../../src/origin/breaker.ts';

function started() {
  const clock = { now: 0 };
  const changes: boolean[] = [];
  const breaker = new Breaker(
    () => clock.now,
    (open) => changes.push(open),
  );
  return { breaker, changes, clock };
}

test('opens after five failures in a row, and a success in between starts anew', () => {
  const { breaker, changes } = started();
  for (let i = 0; i < BREAKER_THRESHOLD - 1; i++) breaker.fail();
  breaker.succeed();
  for (let i = 0; i < BREAKER_THRESHOLD - 1; i++) breaker.fail();
  assert.equal(breaker.admit(), true);
  assert.equal(breaker.isOpen, false);
  breaker.fail();
  assert.equal(breaker.isOpen, true);
  assert.equal(breaker.admit(), false);
  assert.deepEqual(changes, [true]);
});

test('while open one probe a second goes through, and its success closes', () => {
  const { breaker, changes, clock } = started();
  for (let i = 0; i < BREAKER_THRESHOLD; i++) breaker.fail();
  clock.now = PROBE_INTERVAL_MS - 1;
  assert.equal(breaker.admit(), false);
  clock.now = PROBE_INTERVAL_MS;
  assert.equal(breaker.admit(), true);
  assert.equal(breaker.admit(), false);
  breaker.fail();
  clock.now += PROBE_INTERVAL_MS - 1;
  assert.equal(breaker.admit(), false);
  clock.now += 1;
  assert.equal(breaker.admit(), true);
  breaker.succeed();
  assert.equal(breaker.admit(), true);
  assert.equal(breaker.admit(), true);
  assert.deepEqual(changes, [true, false]);
});

test('whatever happens, an open breaker admits at most one request per interval', () => {
  const step = fc.record({ what: fc.constantFrom('fail', 'ask', 'succeed'), passMs: fc.nat(700) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { breaker, clock } = started();
      let lastProbe = Number.NEGATIVE_INFINITY;
      for (const { what, passMs } of steps) {
        clock.now += passMs;
        if (what === 'fail') breaker.fail();
        else if (what === 'succeed') breaker.succeed();
        else if (breaker.isOpen && breaker.admit()) {
          assert.ok(clock.now - lastProbe >= PROBE_INTERVAL_MS);
          lastProbe = clock.now;
        }
        if (!breaker.isOpen) {
          assert.ok(breaker.admit());
          lastProbe = Number.NEGATIVE_INFINITY;
        }
      }
    }),
  );
});
