import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../src/origin/challenge.ts';

function parsed(...lines: string[]) {
  return parseChallenges(lines).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
}

test('challenges with their parameters, quoted or not, one or more to a line', () => {
  assert.deepEqual(
    parsed('Bearer realm="https://auth.example/token?a=b",service="reg, x",scope="repository:a/b:pull"'),
    [
      [
        'bearer',
        { realm: 'https://auth.example/token?a=b', service: 'reg, x', scope: 'repository:a/b:pull' },
      ],
    ],
  );
  assert.deepEqual(parsed('Basic realm="x"', 'BEARER Realm = y , service=z'), [
    ['basic', { realm: 'x' }],
    ['bearer', { realm: 'y', service: 'z' }],
  ]);
  assert.deepEqual(parsed('Basic realm="a \\"b\\"", Bearer realm="c"'), [
    ['basic', { realm: 'a "b"' }],
    ['bearer', { realm: 'c' }],
  ]);
  assert.deepEqual(parsed('Negotiate'), [['negotiate', {}]]);
});

test('what is malformed ends its line', () => {
  assert.deepEqual(parsed('', '@@@', 'Bearer realm="open'), [
    ['bearer', {}],
    ['realm', {}],
  ]);
});
