import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Health } from '../../src/observe/health.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';

function makeHealth(nowMs = 0) {
  const clock = { nowMs };
  const metrics = new Metrics();
  const health = new Health({ log: silentLogger, metrics, now: () => clock.nowMs });
  const gauge = async () => (await metrics.healthy.get()).values[0]?.value;
  return { clock, health, gauge };
}

test('a node starts healthy', async () => {
  const { health, gauge } = makeHealth();
  assert.equal(health.healthy, true);
  assert.deepEqual(health.snapshot(), { healthy: true, since: new Date(0).toISOString(), reasons: [] });
  assert.equal(await gauge(), 1);
});

test('two bad probes are not enough, the third in a row is', async () => {
  const { clock, health, gauge } = makeHealth();
  health.report('event-loop', false);
  health.report('event-loop', false);
  assert.equal(health.healthy, true);
  clock.nowMs = 5000;
  health.report('event-loop', false);
  assert.equal(health.healthy, false);
  assert.equal(health.snapshot().since, new Date(5000).toISOString());
  assert.match(health.snapshot().reasons[0] ?? '', /event loop/);
  assert.equal(await gauge(), 0);
});

test('a good probe in between starts the count anew', () => {
  const { health } = makeHealth();
  for (const good of [false, false, true, false, false]) health.report('event-loop', good);
  assert.equal(health.healthy, true);
});

test('recovers after three good probes, not before', async () => {
  const { health, gauge } = makeHealth();
  for (let i = 0; i < 3; i++) health.report('open-files', false);
  for (const good of [true, true, false, true, true]) health.report('open-files', good);
  assert.equal(health.healthy, false);
  health.report('open-files', true);
  assert.equal(health.healthy, true);
  assert.equal(await gauge(), 1);
});

test('bad probes of different concerns do not add up, and both must recover', () => {
  const { health } = makeHealth();
  for (const concern of ['event-loop', 'open-files', 'event-loop', 'open-files'] as const) {
    health.report(concern, false);
  }
  assert.equal(health.healthy, true);
  health.report('event-loop', false);
  health.report('open-files', false);
  assert.equal(health.snapshot().reasons.length, 2);
  for (let i = 0; i < 3; i++) health.report('event-loop', true);
  assert.equal(health.healthy, false);
  for (let i = 0; i < 3; i++) health.report('open-files', true);
  assert.equal(health.healthy, true);
});

test('stopping is bad at once and for good', () => {
  const { health } = makeHealth();
  health.stopping();
  assert.equal(health.healthy, false);
  for (let i = 0; i < 10; i++) health.report('event-loop', true);
  assert.equal(health.healthy, false);
  assert.deepEqual(health.snapshot().reasons, ['the node is stopping']);
});

test('any run of probes gives what the last changing three in a row say', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (probes) => {
      const { health } = makeHealth();
      let expected = true;
      let run = 0;
      for (const [index, good] of probes.entries()) {
        run = index > 0 && probes[index - 1] === good ? run + 1 : 1;
        if (run >= 3) expected = good;
        health.report('event-loop', good);
        assert.equal(health.healthy, expected);
      }
    }),
  );
});
