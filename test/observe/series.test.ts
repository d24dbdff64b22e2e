import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { Series } from '../../src/observe/series.ts';
import { byLabel, sumOf } from '../../src/observe/sums.ts';

const LABELS = { side: ['in', 'out'], why: ['full', 'late', 'other'] } as const;

async function lines(registry: Registry): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

test('a counter has every combination of its labels from the start, and one without labels itself', async () => {
  const registry = new Registry();
  const series = new Series(registry);
  series.counter('refusals', 'Refusals.', LABELS);
  series.counter('dials', 'Dials.');
  assert.deepEqual(await lines(registry), [
    'refusals{side="in",why="full"} 0',
    'refusals{side="in",why="late"} 0',
    'refusals{side="in",why="other"} 0',
    'refusals{side="out",why="full"} 0',
    'refusals{side="out",why="late"} 0',
    'refusals{side="out",why="other"} 0',
    'dials 0',
  ]);
});

test('so has a histogram', async () => {
  const registry = new Registry();
  const series = new Series(registry);
  series.histogram('seconds', 'Seconds.', { labels: { side: LABELS.side }, buckets: [1] });
  series.histogram('bytes', 'Bytes.');
  const text = await lines(registry);
  for (const line of ['seconds_count{side="in"} 0', 'seconds_count{side="out"} 0', 'bytes_count 0'])
    assert.ok(text.includes(line), line);
});

test('a gauge of unknown label values begins when it is set', async () => {
  const registry = new Registry();
  const gauge = new Series(registry).gauge('open', 'Open.', ['origin']);
  assert.deepEqual(await lines(registry), []);
  gauge.set({ origin: 'a' }, 1);
  assert.deepEqual(await lines(registry), ['open{origin="a"} 1']);
});

test('a level is read at each scrape', async () => {
  const registry = new Registry();
  let now = 1;
  new Series(registry).level('level', 'A level.', async () => now);
  assert.deepEqual(await lines(registry), ['level 1']);
  now = 2;
  assert.deepEqual(await lines(registry), ['level 2']);
});

test('sums: over all labels, and for each value of one', async () => {
  const counter = new Series(new Registry()).counter('refusals', 'Refusals.', LABELS);
  counter.inc({ side: 'in', why: 'full' }, 1);
  counter.inc({ side: 'in', why: 'late' }, 2);
  counter.inc({ side: 'out', why: 'late' }, 4);
  assert.equal(await sumOf(counter), 7);
  assert.deepEqual(await byLabel(counter, 'why', LABELS.why), { full: 1, late: 6, other: 0 });
  assert.deepEqual(await byLabel(counter, 'side', ['in']), { in: 3 });
});
