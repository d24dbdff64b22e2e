import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { MUTANTS } from './mutants.ts';
import { runTests } from './run-tests.ts';

const root = new URL('../../', import.meta.url);

describe('mutants', () => {
  it('each has a part, an original and tests that are there', () => {
    const names = MUTANTS.map(({ name }) => name);
    assert.deepEqual(names, [...new Set(names)]);
    for (const { name, replaces, tests } of MUTANTS) {
      for (const path of [`test/mutants/parts/${name}.ts`, replaces])
        assert.ok(existsSync(new URL(path, root)), `${name}: ${path}`);
      assert.ok(tests.length > 0, name);
      // What else the original exports, now or later, is the original's.
      const part = readFileSync(new URL(`test/mutants/parts/${name}.ts`, root), 'utf8');
      assert.ok(part.includes(`export * from '../../../${replaces}';`), name);
      for (const [file, title] of tests) {
        const source = readFileSync(new URL(file, root), 'utf8');
        // Where a title is made of parts, its beginning may be one of them.
        const isThere = source.includes(title) || /\$\{/.test(source);
        assert.ok(isThere, `${name}: ${file} has no "${title}"`);
      }
    }
  });

  // The others are for `npm run mutants`: minutes.
  it('one is put in, and the test of its point fails', async () => {
    const mutant = MUTANTS.find(({ name }) => name === 'first-range-only');
    const [file = '', title = ''] = mutant?.tests[0] ?? [];
    const healthy = await runTests(file, [title], undefined);
    assert.deepEqual([healthy.passed.length, healthy.failed.length, healthy.isMutated], [1, 0, false]);
    const mutated = await runTests(file, [title], mutant);
    assert.deepEqual([mutated.passed.length, mutated.failed.length, mutated.isMutated], [0, 1, true]);
  });
});
