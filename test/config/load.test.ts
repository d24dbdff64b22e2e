import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadConfig } from '../../config/load.ts';
import { hasCode } from '../../src/errors.ts';
import { load, problems } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'damselfly-load-'));
after(() => rmSync(folder, { recursive: true }));

const nowhere = join(folder, 'absent.yaml');

test('no file and an empty file are the defaults', () => {
  const bare = loadConfig({ defaultFile: nowhere });
  assert.deepEqual(bare.warnings, []);
  assert.deepEqual(bare.config.proxy.listen, [{ kind: 'tcp', host: '127.0.0.1', port: 4001 }]);
  assert.deepEqual(bare.config.metrics.listen, [{ kind: 'tcp', host: '127.0.0.1', port: 4002 }]);
  assert.deepEqual(bare.config.admin.listen, [{ kind: 'tcp', host: '127.0.0.1', port: 4003 }]);
  assert.equal(bare.config.proxy.headersTimeoutMs, 2500);
  assert.equal(bare.config.access.ttlMs, 300_000);
  assert.equal(bare.config.peer.enabled, false);
  for (const text of ['', '# nothing\n', 'proxy:\npeer:\n  discovery:\norigins:\n', '{}', 'cache:\n  dir:\n'])
    assert.deepEqual(load(text).config, bare.config, text);
});

test('the default file is read when it exists, and a named one must exist', () => {
  const file = join(folder, 'default.yaml');
  writeFileSync(file, 'log: {level: debug}\n');
  assert.equal(loadConfig({ defaultFile: file }).config.log.level, 'debug');
  assert.throws(
    () => loadConfig({ file: nowhere }),
    (error) =>
      hasCode(error, 'config-invalid') && error.message.includes(nowhere) && /-c FILE/.test(error.message),
  );
  assert.throws(
    () => loadConfig({ file: folder }),
    (error) => hasCode(error, 'config-invalid'),
  );
});

test('flags go over the environment, which goes over the file, which goes over the defaults', () => {
  const yaml = 'log: {level: warn}\ncache: {maxBytes: 1GiB, minFree: 1MiB}\nproxy: {prefetch: "off"}\n';
  const env = { DAMSELFLY_LOG__LEVEL: 'error', DAMSELFLY_CACHE__MAXBYTES: '2GiB', OTHER: 'x' };
  assert.equal(load(yaml).config.log.level, 'warn');
  assert.equal(load(yaml, { env }).config.log.level, 'error');
  const { config } = load(yaml, { env, set: ['log.level=debug', 'log.level=trace'] });
  assert.equal(config.log.level, 'trace');
  assert.equal(config.cache.maxBytes, 2 * 2 ** 30);
  assert.equal(config.cache.minFreeBytes, 2 ** 20);
  assert.equal(config.proxy.prefetch, 'off');
  assert.equal(config.cache.memoryBytes, 64 * 2 ** 20);
});

test('every kind of value can come from the environment and from --set', () => {
  const given = {
    'proxy.listen': '["127.0.0.1:0","[::1]:0"]',
    'proxy.defaultOrigin': 'http://127.0.0.1:5000',
    'proxy.tls': '{"certFile":"/c","keyFile":"/k"}',
    origins: '[{"host":"*.example.com","insecure":true}]',
    'peer.insecure': 'true',
    'peer.workers': '2',
    'peer.zone': '1',
    'peer.discovery.dns': '["a.b:4006"]',
    'access.grace': '1h',
  };
  const env = Object.fromEntries(
    Object.entries(given).map(([key, value]) => [
      `DAMSELFLY_${key.toUpperCase().replaceAll('.', '__')}`,
      value,
    ]),
  );
  const set = Object.entries(given).map(([key, value]) => `${key}=${value}`);
  const byEnv = load('', { env }).config;
  assert.deepEqual(load('', { set }).config, byEnv);
  assert.equal(byEnv.proxy.listen.length, 2);
  assert.equal(byEnv.proxy.defaultOrigin, 'http://127.0.0.1:5000');
  assert.deepEqual(byEnv.proxy.tls, { certFile: '/c', keyFile: '/k' });
  assert.equal(byEnv.origins[0]?.insecure, true);
  assert.equal(byEnv.peer.insecure, true);
  assert.equal(byEnv.peer.workers, 2);
  assert.equal(byEnv.peer.zone, '1');
  assert.deepEqual(byEnv.peer.discovery.dns, ['a.b:4006']);
  assert.equal(byEnv.access.graceMs, 3_600_000);
  assert.deepEqual(load('', { set: ['proxy.listen=[::1]:4001'] }).config.proxy.listen, [
    { kind: 'tcp', host: '::1', port: 4001 },
  ]);
  assert.deepEqual(
    load('', { set: ["proxy.listen=['127.0.0.1:1', '127.0.0.1:2']"] }).config.proxy.listen.length,
    2,
  );
});

test('an empty flag takes a value back to its default; an empty variable is not set', () => {
  const yaml = 'log: {level: warn}\nproxy: {defaultOrigin: registry.example.com}\n';
  assert.equal(load(yaml, { set: ['log.level='] }).config.log.level, 'info');
  assert.equal(load(yaml, { set: ['proxy.defaultOrigin=null'] }).config.proxy.defaultOrigin, undefined);
  assert.equal(load(yaml, { env: { DAMSELFLY_LOG__LEVEL: '' } }).config.log.level, 'warn');
});

test('variables that look like keys are refused, those that Kubernetes makes are not', () => {
  const kubernetes = {
    DAMSELFLY_SERVICE_HOST: '10.0.0.1',
    DAMSELFLY_PORT: 'tcp://10.0.0.1:4001',
    DAMSELFLY_PORT_4001_TCP_ADDR: '10.0.0.1',
    DAMSELFLY_PEER_SERVICE_PORT: '4006',
    DAMSELFLY_METRICS_PORT_4002_TCP: 'tcp://10.0.0.1:4002',
  };
  load('', { env: kubernetes });
  assert.deepEqual(problems('', { env: { DAMSELFLY_PROXY__LISTN: '127.0.0.1:1' } }), [
    'DAMSELFLY_PROXY__LISTN: unknown variable (value "127.0.0.1:1"); expected DAMSELFLY_PROXY__LISTEN (environment)',
  ]);
  assert.match(
    problems('', { env: { DAMSELFLY_PROXY_DEFAULT_ORIGIN: 'x' } }).join(),
    /expected DAMSELFLY_PROXY__DEFAULTORIGIN/,
  );
  assert.match(problems('', { env: { DAMSELFLY_ORIGINS__0__HOST: 'x' } }).join(), /unknown variable/);
});

test('a relative path counts from the working directory', () => {
  assert.equal(load('cache: {dir: some/where}').config.cache.dir, join(process.cwd(), 'some/where'));
});

test('secret files that others can read are warned about and never refused', () => {
  const key = join(folder, 'network.key');
  writeFileSync(key, 'x', { mode: 0o600 });
  const yaml = `peer: {networkKeyFile: ${key}}\norigins: [{host: r.example.com, credentialsFile: ${key}}]\nadmin: {tokenFile: ${key}}\n`;
  const quiet = load(yaml);
  assert.deepEqual(quiet.warnings, []);
  assert.equal(quiet.config.peer.enabled, true);
  chmodSync(key, 0o644);
  const { warnings } = load(yaml);
  assert.deepEqual(
    warnings.map((warning) => warning.split(':')[0]),
    ['peer.networkKeyFile', 'admin.tokenFile', 'origins[0].credentialsFile'],
  );
  assert.deepEqual(load(`peer: {networkKeyFile: ${nowhere}}`).warnings, []);
});

test('configurations that open doors are warned about', () => {
  const warnings = (yaml: string): string => load(yaml).warnings.join('\n');
  assert.match(warnings('peer: {enabled: true, insecure: true}'), /^peer.insecure: /);
  assert.match(
    warnings('origins: [{host: a.example}, {host: b.example, credentialsFile: /nonexistent/config.json}]'),
    /^origins\[1\]\.credentialsFile: \/nonexistent\/config\.json is not there/,
  );
  assert.match(warnings('access: {mode: node}\nproxy: {listen: 0.0.0.0:4001}'), /^access.mode: node/);
  assert.equal(warnings('access: {mode: node}\nproxy: {listen: unix:/run/d.sock}'), '');
  assert.equal(warnings('admin: {listen: "[::]:4003"}'), '');
});
