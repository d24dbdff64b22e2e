import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';

const CODE = `console.log(JSON.stringify({
  now: Date.now(), made: new Date().getTime(), text: new Date(Date()).getTime(),
  fixed: new Date(5).getTime(), utc: Date.UTC(1970, 0, 2), same: new Date() instanceof Date,
}))`;

test('every way to ask for the time is off by as much, and times that are given stay', () => {
  const skewMs = 3_600_000;
  const clock = new URL('clock-skew.ts', import.meta.url).href;
  const { stdout } = spawnSync(process.execPath, ['--import', clock, '-e', CODE], {
    env: { ...process.env, TEST_CLOCK_SKEW_MS: String(skewMs) },
    encoding: 'utf8',
  });
  const seen = JSON.parse(stdout) as Record<string, number>;
  for (const name of ['now', 'made', 'text'])
    assert.ok(Math.abs((seen[name] ?? 0) - Date.now() - skewMs) < 60_000, `${name} is ${seen[name]}`);
  assert.equal(seen.fixed, 5);
  assert.equal(seen.utc, 86_400_000);
  assert.equal(seen.same, true);
});
