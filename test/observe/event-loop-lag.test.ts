import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { EventLoopLag } from '../../src/observe/event-loop-lag.ts';
import { Metrics } from '../../src/observe/metrics.ts';

test('reports how late each tick is, to the metric and to the listener, until it is stopped', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let nowMs = 1000;
    const lags: number[] = [];
    const metrics = new Metrics();
    const lag = new EventLoopLag({
      metrics,
      onLag: (ms) => lags.push(ms),
      intervalMs: 100,
      monotonicMs: () => nowMs,
    });
    lag.start();
    lag.start();
    nowMs += 100;
    mock.timers.tick(100);
    nowMs += 1600;
    mock.timers.tick(100);
    nowMs += 90; // A timer that fires early is not negative lag.
    mock.timers.tick(100);
    assert.deepEqual(lags, [0, 1500, 0]);

    const { values } = await metrics.eventLoopLag.get();
    const count = values.find((v) => v.metricName?.endsWith('_count'));
    const sum = values.find((v) => v.metricName?.endsWith('_sum'));
    assert.equal(count?.value, 3);
    assert.equal(sum?.value, 1.5);

    lag.stop();
    mock.timers.tick(1000);
    assert.equal(lags.length, 3);
  } finally {
    mock.timers.reset();
  }
});
