import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, problems } from './support.ts';

/** Without the place, which names a temporary file. */
function told(yaml: string): string[] {
  return problems(yaml).map((line) => line.replace(/ \(\S+damselfly\.yaml:\d+\)$/, ''));
}

test('an unknown key is refused with path, value, the likely meaning, what is known, and the line', () => {
  const [line = ''] = problems('cache:\n  dir: /tmp/x\n  maxByte: 1GiB\n');
  assert.match(
    line,
    /^cache\.maxByte: unknown key \(value "1GiB"\), did you mean maxBytes\?; expected one of dir, maxBytes, minFree, memoryBytes \(.*damselfly\.yaml:3\)$/,
  );
});

test('a bad value is refused with path, value and expectation', () => {
  assert.deepEqual(told('proxy: {headersTimeout: 3}\n'), [
    'proxy.headersTimeout: is 3; expected a time with its unit, such as 500ms, 2.5s, 5m, 1h30m, from 100ms to 25s',
  ]);
});

test('all problems are told at once, from every layer, one line each', () => {
  const lines = problems('proxy: {lisen: x}\nlog: {level: loud}\norigins: [{host: a/b}, {hots: c}]\n', {
    env: { DAMSELFLY_CACHE__MINFREE: 'much' },
    set: ['access.mode=nobody', 'foo.bar=1', 'nothing'],
  });
  const heads = lines.map((line) => line.split(':')[0]).sort();
  assert.deepEqual(heads, [
    'access.mode',
    'cache.minFree',
    'foo.bar',
    'log.level',
    'nothing',
    'origins[0].host',
    'origins[1].host',
    'origins[1].hots',
    'proxy.lisen',
  ]);
  assert.match(lines.find((line) => line.startsWith('cache.minFree')) ?? '', /\(DAMSELFLY_CACHE__MINFREE\)$/);
  assert.match(lines.find((line) => line.startsWith('access.mode')) ?? '', /\(--set access.mode\)$/);
});

for (const [yaml, path] of [
  ['proxy: 1', 'proxy'],
  ['- a', 'the configuration'],
  ['proxy: [', 'YAML'],
  ['log: {level: info}\nlog: {level: warn}', 'YAML'],
  ['origins: {host: a}', 'origins'],
  ['origins: [a]', 'origins[0]'],
  ['proxy: {listen: []}', 'proxy.listen'],
  ['proxy: {listen: [127.0.0.1:1, x]}', 'proxy.listen'],
  ['proxy: {prefetch: yes}', 'proxy.prefetch'],
  ['proxy: {allowOrigins: none}', 'proxy.allowOrigins'],
  ['proxy: {listeners: [{origin: x}]}', 'proxy.listeners[0].listen'],
  ['proxy: {listeners: [{listen: 127.0.0.1:1, tls: true}]}', 'proxy.listeners[0].tls'],
  ['proxy: {listeners: [{listen: 127.0.0.1:1, tls: {certFile: /c}}]}', 'proxy.listeners[0].tls'],
  ['proxy: {listeners: [{listen: 127.0.0.1:1, blob: a@sha256:0}]}', 'proxy.listeners[0].blob'],
  [
    `proxy: {listeners: [{listen: 127.0.0.1:1, blob: "a@sha256:${'0'.repeat(64)}"}]}`,
    'proxy.listeners[0].origin',
  ],
  ['proxy: {tls: {certFile: /c}}', 'proxy.tls.keyFile'],
  ['proxy: {intercept: {hosts: [a], caCertFile: /c}}', 'proxy.intercept.caKeyFile'],
  ['proxy: {rules: [{regex: "("}]}', 'proxy.rules[0].regex'],
  ['proxy: {rules: [{useTLS: true}]}', 'proxy.rules[0].regex'],
  ['proxy: {rules: [{regex: a, redirect: "http://x"}]}', 'proxy.rules[0].redirect'],
  ['origins: [{host: a}, {host: A}]', 'origins[1].host'],
  ['origins: [{host: a, names: [n]}, {host: b, names: [N]}]', 'origins[1].names'],
  ['origins: [{host: "*.a", names: [n]}]', 'origins[0].names'],
  ['origins: [{host: a, url: "https://b?x=1"}]', 'origins[0].url'],
  ['origins: [{host: a, proxy: "http://u:p@x:1"}]', 'origins[0].proxy'],
  ['metrics: {listen: unix:/run/m}', 'metrics.listen'],
  ['admin: {listen: unix:/run/m}', 'admin.listen'],
  ['peer: {listen: 0.0.0.0:4006}', 'peer.listen'],
  ['peer: {workers: 1.5}', 'peer.workers'],
  ['peer: {zone: 1}', 'peer.zone'],
  ['peer: {enabled: true}', 'peer.networkKeyFile'],
  ['cache: {dir: ""}', 'cache.dir'],
] as const) {
  test(`refused: ${yaml.replaceAll('\n', '\\n').slice(0, 90)}`, () => {
    const lines = told(yaml);
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.ok(lines[0]?.startsWith(`${path}: `), lines[0]);
  });
}

test('peers without a key are refused with the command that makes one, and accepted as insecure', () => {
  assert.match(told('peer: {enabled: true}').join(), /damselfly peers keygen.*peer\.insecure: true/);
  assert.equal(load('peer: {enabled: true, insecure: true}').config.peer.enabled, true);
  assert.equal(load('peer: {insecure: true}').config.peer.enabled, false);
  assert.equal(load('peer: {enabled: false, networkKeyFile: /k}').config.peer.enabled, false);
});

test('a problem is put down to whoever had the last word on the key', () => {
  const yaml = 'log: {level: loud}\n';
  assert.match(problems(yaml).join(), /is "loud".*damselfly\.yaml:1\)$/);
  const env = { DAMSELFLY_LOG__LEVEL: 'louder' };
  assert.match(problems(yaml, { env }).join(), /is "louder".*\(DAMSELFLY_LOG__LEVEL\)$/);
  assert.match(
    problems(yaml, { env, set: ['log.level=loudest'] }).join(),
    /is "loudest".*\(--set log\.level\)$/,
  );
});

test('what may be a secret is not echoed', () => {
  const lines = told(
    [
      'token: abcdefgh',
      'admin: {token: hunter2, tokenFile: "line one\\nhunter2"}',
      'proxy: {defaultOrigin: "https://me:hunter2@x/?sig=hunter2"}',
      'dragonfly: {upstreem: "https://me:hunter2@x?sig=hunter2"}',
      'peer: {networkKeyFile: "/key/swarm/psk/1.0.0/\\nhunter2", key: {a: hunter2}}',
    ].join('\n'),
  );
  assert.equal(lines.length, 7);
  for (const line of lines) assert.doesNotMatch(line, /hunter2|abcdefgh/);
});

test('a key named like an object builtin is only an unknown key', () => {
  assert.match(
    told('__proto__: {a: 1}\nconstructor: 2').join('\n'),
    /__proto__: unknown key[\s\S]*constructor: unknown key/,
  );
});
