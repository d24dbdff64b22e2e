import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_KEYS, type ConfigKey } from '../../config/keys.ts';
import { load } from './support.ts';

/** Every key that the outside contract names, each with a value that differs from its default. */
const EVERY_KEY = `
proxy:
  listen: [127.0.0.1:0, "unix:/run/damselfly.sock"]
  defaultOrigin: http://127.0.0.1:5000
  allowOrigins: listed
  listeners:
    - listen: 127.0.0.1:4011
      origin: registry.example.com
      blob: library/alpine@sha256:${'ab'.repeat(32)}
      tls: {certFile: /l.crt, keyFile: /l.key}
    - listen: ["[::1]:4012"]
      tls: true
  tls: {certFile: /p.crt, keyFile: /p.key}
  intercept: {hosts: ["*.example.com"], caCertFile: /ca.crt, caKeyFile: /ca.key}
  rules:
    - {regex: "https?://bucket/.*", useTLS: true, redirect: "mirror:8080", filteredQueryParams: [sig]}
  prefetch: whole
  headersTimeout: 1500ms
origins:
  - host: "10.0.0.5:5000"
    names: [mirror.example.com]
    url: http://10.0.0.6:5000
    insecure: true
    ca: /ca.pem
    credentialsFile: /config.json
    proxy: http://proxy:3128
    share: false
access: {mode: node, ttl: 1m, grace: 1h, whenOriginDown: allow}
cache: {dir: /tmp/d, maxBytes: 1GiB, minFree: 10MiB, memoryBytes: 0}
peer:
  enabled: true
  listen: [/ip4/127.0.0.1/tcp/0]
  dataListen: 127.0.0.1:0
  announce: [10.0.0.5:4006]
  networkKeyFile: /network.key
  insecure: true
  transport: tls
  trust: proven
  zone: a
  uploadRate: 10MiB/s
  downloadRate: 20MiB/s
  workers: 1
  discovery: {static: [10.0.0.6:4006], dns: [peers.example.com], mdns: true, bootstrap: [/dns4/b/tcp/4006]}
admin: {listen: 127.0.0.1:0, tokenFile: /admin.token}
metrics: {listen: 127.0.0.1:0}
dragonfly: {upstream: 127.0.0.1:65001, outputDir: /out}
log: {level: debug}
`;

function names(keys: readonly ConfigKey[]): string[] {
  return keys.flatMap((key) => [
    ...(key.kind === 'mapping' ? [] : [key.path.filter((step) => step !== '[]').join('.')]),
    ...names(key.keys),
  ]);
}

test('every key of the contract is accepted and reaches the node in its unit', () => {
  const { config } = load(EVERY_KEY);
  assert.equal(config.proxy.headersTimeoutMs, 1500);
  assert.deepEqual(config.proxy.listen[1], { kind: 'unix', path: '/run/damselfly.sock' });
  assert.equal(config.proxy.allowOrigins, 'listed');
  assert.equal(config.proxy.prefetch, 'whole');
  assert.deepEqual(config.proxy.listeners[0]?.tls, { certFile: '/l.crt', keyFile: '/l.key' });
  assert.deepEqual(config.proxy.listeners[0]?.origin, 'https://registry.example.com');
  assert.deepEqual(config.proxy.listeners[0]?.blob, {
    repository: 'library/alpine',
    digest: `sha256:${'ab'.repeat(32)}`,
  });
  assert.deepEqual(config.proxy.listeners[1]?.tls, config.proxy.tls);
  assert.deepEqual(config.proxy.intercept.ca, { certFile: '/ca.crt', keyFile: '/ca.key' });
  assert.ok(config.proxy.rules[0]?.regex.test('http://bucket/x'));
  assert.deepEqual(config.origins[0], {
    host: { host: '10.0.0.5', port: 5000, wildcard: false },
    names: ['mirror.example.com'],
    url: 'http://10.0.0.6:5000',
    insecure: true,
    ca: '/ca.pem',
    credentialsFile: '/config.json',
    proxy: 'http://proxy:3128',
    share: false,
  });
  assert.deepEqual(config.access, {
    mode: 'node',
    ttlMs: 60_000,
    graceMs: 3_600_000,
    whenOriginDown: 'allow',
  });
  assert.deepEqual(config.cache, {
    dir: '/tmp/d',
    maxBytes: 2 ** 30,
    minFreeBytes: 10 * 2 ** 20,
    memoryBytes: 0,
  });
  assert.equal(config.peer.uploadBytesPerSecond, 10 * 2 ** 20);
  assert.equal(config.peer.downloadBytesPerSecond, 20 * 2 ** 20);
  assert.deepEqual(config.peer.discovery.bootstrap, ['/dns4/b/tcp/4006']);
  assert.deepEqual(config.dragonfly, { upstream: 'http://127.0.0.1:65001', outputDir: '/out' });
  assert.equal(config.admin.tokenFile, '/admin.token');
  assert.equal(config.log.level, 'debug');
});

test('the schema has no key that the text above leaves out', () => {
  for (const name of names(CONFIG_KEYS)) {
    assert.match(EVERY_KEY, new RegExp(`\\b${name.split('.').at(-1)}:`), name);
  }
});

test('grace is never less than ttl', () => {
  assert.equal(load('access: {ttl: 48h, grace: 1h}').config.access.graceMs, 48 * 3_600_000);
});

test('a lone value is a list of one', () => {
  assert.deepEqual(load('peer: {discovery: {dns: a.example.com}}').config.peer.discovery.dns, [
    'a.example.com',
  ]);
});
