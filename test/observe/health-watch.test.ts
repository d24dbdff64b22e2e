import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Health } from '../../src/observe/health.ts';
import { watchHealth } from '../../src/observe/health-watch.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => mock.timers.reset());

function makeWatch() {
  const state = { nowMs: 0, exhausted: false };
  const metrics = new Metrics();
  const health = new Health({ log: silentLogger, metrics });
  const watch = watchHealth({
    health,
    metrics,
    intervalMs: 250,
    monotonicMs: () => state.nowMs,
    filesExhausted: () => state.exhausted,
  });
  const tick = (lateMs: number) => {
    state.nowMs += 250 + lateMs;
    mock.timers.tick(250);
  };
  return { state, health, watch, tick };
}

test('a loop that is over a second late three times in a row is stuck, and recovers', () => {
  const { health, watch, tick } = makeWatch();
  tick(1001);
  tick(1001);
  tick(1000);
  assert.equal(health.healthy, true, 'a second exactly is still good');
  for (let i = 0; i < 3; i++) tick(2000);
  assert.equal(health.healthy, false);
  for (let i = 0; i < 3; i++) tick(5);
  assert.equal(health.healthy, true);
  watch.stop();
});

test('descriptors are probed every fourth tick', () => {
  const { state, health, watch, tick } = makeWatch();
  state.exhausted = true;
  for (let i = 0; i < 8; i++) tick(0);
  assert.equal(health.healthy, true);
  tick(0);
  assert.equal(health.healthy, false);
  assert.match(health.snapshot().reasons[0] ?? '', /file descriptors/);
  watch.stop();
});
