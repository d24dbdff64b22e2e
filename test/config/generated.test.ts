import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { GENERATED } from '../../config/generate.ts';
import { CONFIG_KEYS, type ConfigKey } from '../../config/keys.ts';
import { nest } from '../../config/layer.ts';
import { loadConfig } from '../../config/load.ts';
import { load, problems } from './support.ts';

const annotated = new URL('../../config/damselfly.yaml', import.meta.url);

for (const { file, text } of GENERATED) {
  test(`${file.pathname.split('/').slice(-2).join('/')} is what the schema says`, () => {
    assert.ok(existsSync(file), 'run: npm run config');
    assert.equal(readFileSync(file, 'utf8'), text(), 'run: npm run config');
  });
}

test('loading the annotated file gives exactly the defaults', () => {
  const { config, warnings } = loadConfig({ file: fileURLToPath(annotated) });
  assert.deepEqual(config, load('').config);
  assert.deepEqual(warnings, []);
});

test('every default and example is accepted', () => {
  let tried = 0;
  const check = (key: ConfigKey): void => {
    for (const value of [key.default, key.example]) {
      if (value === undefined) continue;
      tried += 1;
      // Other keys may have to go with it (a certificate's key); its own value must not be the problem.
      const lines = refusals(stringify(nest(key.path, value)));
      assert.deepEqual(
        lines.filter((line) => line.startsWith(`${key.path.join('.')}: `)),
        [],
      );
    }
    if (key.kind === 'mapping') key.keys.forEach(check);
  };
  CONFIG_KEYS.forEach(check);
  assert.ok(tried > 40);
});

function refusals(yaml: string): string[] {
  try {
    load(yaml);
    return [];
  } catch {
    return problems(yaml);
  }
}
