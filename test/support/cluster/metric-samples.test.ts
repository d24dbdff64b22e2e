import assert from 'node:assert/strict';
import test from 'node:test';
import { MetricSamples } from './metric-samples.ts';

const PAGE = `# HELP a_total What comes in.
# TYPE a_total counter
a_total{source="peer",zone="a b"} 5
a_total{source="origin",zone="\\"x\\""} 7
b_seconds_bucket{le="+Inf"} 3
b_seconds_bucket{le="0.5"} +Inf
c 1.5e3
`;

test('series are summed over the labels that are not named', () => {
  const samples = MetricSamples.parse(PAGE);
  assert.equal(samples.sum('a_total'), 12);
  assert.equal(samples.sum('a_total', { source: 'peer' }), 5);
  assert.equal(samples.sum('a_total', { zone: '"x"' }), 7);
  assert.equal(samples.sum('c'), 1500);
  assert.equal(samples.sum('b_seconds_bucket', { le: '0.5' }), Number.POSITIVE_INFINITY);
});

test('what is not there is not 0', () => {
  const samples = MetricSamples.parse(PAGE);
  assert.equal(samples.find('a_total', { source: 'disk' }), undefined);
  assert.throws(() => samples.sum('a'), /there is no metric a /);
});
