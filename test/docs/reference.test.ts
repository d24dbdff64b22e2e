import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorsPage, metricsPage } from './render.ts';

const read = (name: string): string => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8');

test('docs/errors.md is the table of errors in the code', () => {
  assert.equal(read('errors.md'), errorsPage(), 'npm run docs writes it anew');
});

test('docs/metrics.md names every series of a node, and no other', async () => {
  assert.equal(read('metrics.md'), await metricsPage(), 'npm run docs writes it anew');
});

test('every page that the README links is there', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  for (const [, target = ''] of readme.matchAll(/\]\(([^)#:]+)\)/g)) {
    assert.ok(readFileSync(new URL(`../../${target}`, import.meta.url)).length > 0, target);
  }
});
