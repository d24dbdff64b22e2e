import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { type TestContext, test } from 'node:test';
import { askHelper } from '../../src/origin/credential-helper.ts';
import { DockerConfig } from '../../src/origin/docker-config.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { NEVER } from './support.ts';

const basic = (text: string): string => Buffer.from(text).toString('base64');

async function configured(t: TestContext, config: object | string) {
  const folder = await tempFolder(t);
  const path = folder.file('config.json');
  const write = (value: object | string) =>
    writeFile(path, typeof value === 'string' ? value : JSON.stringify(value));
  await write(config);
  const troubles: string[] = [];
  const file = new DockerConfig(path, (message) => troubles.push(message));
  return { loginFor: (host: string) => file.loginFor(host, NEVER), troubles, write, path, folder };
}

/** A credential helper on the PATH for the length of a test. */
async function helper(t: TestContext, name: string, script: string) {
  const folder = await tempFolder(t);
  const path = folder.file(`docker-credential-${name}`);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  const before = process.env.PATH;
  process.env.PATH = `${folder.path}${delimiter}${before}`;
  t.after(() => {
    process.env.PATH = before;
  });
}

test('logins are found by every spelling of their registry', async (t) => {
  const { loginFor } = await configured(t, {
    auths: {
      'https://index.docker.io/v1/': { auth: basic('hub:pw') },
      'reg.example': { auth: basic('ann:pa:ss') },
      'https://v1.example/v1/': { auth: basic('old:pw') },
      'LAB:5000': { username: 'lab', password: 'lp' },
      'id.example': { auth: basic('x:'), identitytoken: 'refresh' },
      'bearer.example': { registrytoken: 'token' },
      'empty.example': {},
    },
  });
  const hub = { kind: 'password', user: 'hub', password: 'pw' };
  for (const host of ['registry-1.docker.io', 'docker.io', 'index.docker.io'])
    assert.deepEqual(await loginFor(host), hub, host);
  assert.deepEqual(await loginFor('reg.example'), { kind: 'password', user: 'ann', password: 'pa:ss' });
  assert.deepEqual(await loginFor('reg.example:443'), { kind: 'password', user: 'ann', password: 'pa:ss' });
  assert.equal(await loginFor('reg.example:5000'), null);
  assert.deepEqual(await loginFor('v1.example'), { kind: 'password', user: 'old', password: 'pw' });
  assert.deepEqual(await loginFor('lab:5000'), { kind: 'password', user: 'lab', password: 'lp' });
  assert.deepEqual(await loginFor('id.example'), { kind: 'identity', token: 'refresh' });
  assert.deepEqual(await loginFor('bearer.example'), { kind: 'bearer', token: 'token' });
  assert.equal(await loginFor('empty.example'), null);
  assert.equal(await loginFor('else.example'), null);
});

test('a changed file counts at once; a broken or missing one is told without its contents', async (t) => {
  const { loginFor, write, troubles, path, folder } = await configured(t, {
    auths: { a: { auth: basic('u:one') } },
  });
  assert.deepEqual(await loginFor('a'), { kind: 'password', user: 'u', password: 'one' });
  await write({ auths: { a: { auth: basic('u:second') } } });
  assert.deepEqual(await loginFor('a'), { kind: 'password', user: 'u', password: 'second' });
  await write('{"auths": {"a": {"auth": "c2VjcmV0" ');
  assert.equal(await loginFor('a'), null);
  await write({ auths: { a: { auth: 5 } } });
  assert.equal(await loginFor('a'), null);
  await folder.remove();
  assert.equal(await loginFor('a'), null);
  assert.deepEqual(troubles, [
    `${path}: it is no docker config.json`,
    `${path}: it is no docker config.json`,
    `${path}: ENOENT`,
  ]);
});

test('helpers are asked for their server: one of its own, then the store, then the file', async (t) => {
  await helper(t, 'own', 'read server; echo "{\\"Username\\":\\"own\\",\\"Secret\\":\\"$1 $server\\"}"');
  await helper(
    t,
    'store',
    'read server; [ "$server" = file.example ] && exit 1; echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"$server\\"}"',
  );
  const { loginFor, troubles } = await configured(t, {
    credHelpers: { 'own.example': 'own' },
    credsStore: 'store',
    auths: { 'file.example': { auth: basic('file:pw') } },
  });
  assert.deepEqual(await loginFor('own.example'), {
    kind: 'password',
    user: 'own',
    password: 'get own.example',
  });
  assert.deepEqual(await loginFor('docker.io'), { kind: 'identity', token: 'https://index.docker.io/v1/' });
  assert.deepEqual(await loginFor('file.example'), { kind: 'password', user: 'file', password: 'pw' });
  assert.deepEqual(troubles, []);
});

test('a helper that is missing, talks nonsense or has a strange name is told, and the file used', async (t) => {
  await helper(t, 'nonsense', 'echo "my secret is hunter2"');
  await helper(t, 'flood', 'head -c 200000 /dev/zero');
  const { loginFor, troubles } = await configured(t, {
    credHelpers: { a: 'nonsense', b: 'missing-helper', c: '../evil', d: 'flood' },
    auths: { a: { auth: basic('u:a') }, b: { auth: basic('u:b') } },
  });
  assert.deepEqual(await loginFor('a'), { kind: 'password', user: 'u', password: 'a' });
  assert.deepEqual(await loginFor('b'), { kind: 'password', user: 'u', password: 'b' });
  assert.equal(await loginFor('c'), null);
  assert.equal(await loginFor('d'), null);
  assert.equal(troubles.length, 4);
  assert.ok(!troubles.join().includes('hunter2'));
  assert.match(troubles[1] ?? '', /ENOENT/);
  assert.match(troubles[2] ?? '', /no usable name/);
});

test('a helper that hangs ends with the signal', async (t) => {
  await helper(t, 'hang', 'exec sleep 60');
  const abort = new AbortController();
  const asking = askHelper('hang', 'a', abort.signal);
  abort.abort();
  await assert.rejects(asking);
});
