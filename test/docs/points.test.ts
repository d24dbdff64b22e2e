import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { it } from 'node:test';

const POINTS = 31;
const tests = new URL('../', import.meta.url);
const readme = readFileSync(new URL('README.md', tests), 'utf8');

it('test/README.md names for each point of the clients’ list tests that are there, and whose titles name it', () => {
  const rows = new Map<number, string[]>();
  for (const [, point = '', cell = ''] of readme.matchAll(/^\| (\d+) \| [^|]* \| ([^|]*) \|/gm)) {
    assert.ok(!rows.has(Number(point)), `point ${point} has two rows`);
    rows.set(
      Number(point),
      [...cell.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, file = '']) => file),
    );
  }
  for (let point = 1; point <= POINTS; point += 1) {
    const files = rows.get(point) ?? [];
    assert.ok(files.length > 0, `point ${point} has no row, or no test`);
    for (const file of files) {
      const source = readFileSync(new URL(file, tests), 'utf8');
      const title = new RegExp(`\\b(?:it|test)\\(\\s*['"\`]8\\.${point} `);
      assert.match(source, title, `${file} has no test named "8.${point} …"`);
    }
  }
});

it('test/README.md lists the models of clients that are there', () => {
  for (const [, file = ''] of readme.matchAll(/^\| `([\w-]+\.ts)` \|/gm))
    assert.ok(existsSync(new URL(`integration/clients/${file}`, tests)), file);
});
