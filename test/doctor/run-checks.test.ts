import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doctorText } from '../../src/commands/doctor-text.ts';
import { type Check, failed, ok, skipped, warning } from '../../src/doctor/check.ts';
import { reportOf } from '../../src/doctor/report.ts';
import { runChecks } from '../../src/doctor/run-checks.ts';

const stop = new AbortController().signal;

test('no check crashes or holds up the others, and the order is that of the list', {
  timeout: 10_000,
}, async () => {
  let told: unknown;
  const checks: Check[] = [
    {
      name: 'throws',
      run: () => {
        throw new Error('at once');
      },
    },
    { name: 'rejects', run: async () => Promise.reject(new Error('later')) },
    { name: 'deaf', run: () => new Promise(() => undefined) },
    {
      name: 'listens',
      run: (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            told = signal.reason;
            reject(signal.reason);
          });
        }),
    },
    { name: 'well', run: async () => [ok('a', 'b'), skipped(undefined, 'c')] },
  ];
  const findings = await runChecks(checks, stop, 50);
  assert.deepEqual(
    findings.map(({ name, verdict }) => `${name} ${verdict}`),
    ['throws failed', 'rejects failed', 'deaf failed', 'listens failed', 'well ok', 'well skipped'],
  );
  assert.match(findings[0]?.what ?? '', /the check itself failed: at once/);
  for (const late of [findings[2], findings[3]]) assert.match(late?.what ?? '', /no answer within 0\.05 s/);
  assert.ok(told instanceof Error);
});

test('they run together, and a stop ends them all', { timeout: 10_000 }, async () => {
  let running = 0;
  let most = 0;
  const everybody = Promise.withResolvers<void>();
  const together: Check[] = [1, 2, 3].map((n) => ({
    name: String(n),
    run: async () => {
      running += 1;
      most = Math.max(most, running);
      if (running === 3) everybody.resolve();
      await everybody.promise;
      return [];
    },
  }));
  await runChecks(together, stop);
  assert.equal(most, 3);
  const stopping = new AbortController();
  const reason = new Error('stopped');
  const deaf: Check = { name: 'deaf', run: () => new Promise(() => stopping.abort(reason)) };
  await assert.rejects(runChecks([deaf], stopping.signal), reason);
});

test('the report counts, and a person reads it with what to do below what failed', () => {
  const findings = [
    { name: 'disk', ...ok('/cache', 'fine') },
    { name: 'origins', ...failed('https://r.example', 'does not resolve', 'Spell it right') },
    { name: 'clock', ...warning(undefined, 'late', 'Set it') },
    { name: 'peers', ...skipped(undefined, 'off') },
  ];
  const report = reportOf(findings, '1.0.0', 0.5);
  assert.deepEqual([report.ok, report.counts], [false, { ok: 1, warning: 1, failed: 1, skipped: 1 }]);
  assert.equal(reportOf(findings.slice(2), '1.0.0', 0).ok, true);
  assert.deepEqual(doctorText(report).split('\n'), [
    'ok       disk     /cache: fine',
    'FAILED   origins  https://r.example: does not resolve',
    '                  → Spell it right',
    'WARNING  clock    late',
    '                  → Set it',
    '-        peers    off',
    '',
    '1 failed, 1 warning, 1 ok, 1 not checked, in 0.5 s',
  ]);
  const painted = doctorText(report, (verdict, text) => `<${verdict}>${text}</>`);
  assert.match(painted, /^<failed>FAILED {3}<\/>origins/m);
});
