import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostsFile, NameResolver, type NameSource } from '../../src/origin/name-resolver.ts';
import { tempFolder } from '../support/temp-folder.ts';

function fake(records: Record<string, readonly string[]>) {
  const asked: string[] = [];
  const source: NameSource = async (host) => {
    asked.push(host);
    const addresses = records[host];
    return addresses === undefined ? null : { addresses, ttlMs: 30_000 };
  };
  return { source, asked };
}

test('literals and localhost ask nobody', async () => {
  const { source, asked } = fake({});
  const resolver = new NameResolver([source]);
  assert.deepEqual(await resolver.resolve('10.0.0.1'), ['10.0.0.1']);
  assert.deepEqual(await resolver.resolve('::1'), ['::1']);
  assert.deepEqual(await resolver.resolve('LocalHost'), ['127.0.0.1', '::1']);
  assert.deepEqual(await resolver.resolve('x.localhost.'), ['127.0.0.1', '::1']);
  assert.deepEqual(asked, []);
});

test('sources are asked in order, a broken one is passed over, and the first answer is kept', async () => {
  const broken: NameSource = () => Promise.reject(new Error('no server'));
  const first = fake({ 'a.example': ['10.0.0.1'] });
  const second = fake({ 'a.example': ['10.0.0.2'], 'b.example': ['10.0.0.3', 'fd00::1'] });
  const resolver = new NameResolver([broken, first.source, second.source]);
  assert.deepEqual(await resolver.resolve('A.example.'), ['10.0.0.1']);
  assert.deepEqual(await resolver.resolve('b.example'), ['10.0.0.3', 'fd00::1']);
  assert.deepEqual(await Promise.all([resolver.resolve('a.example'), resolver.resolve('b.example')]), [
    ['10.0.0.1'],
    ['10.0.0.3', 'fd00::1'],
  ]);
  assert.deepEqual(first.asked, ['a.example', 'b.example']);
  assert.deepEqual(second.asked, ['b.example']);
});

test('an unknown name is an empty list, and is asked for again', async () => {
  const { source, asked } = fake({});
  const resolver = new NameResolver([source]);
  assert.deepEqual(await resolver.resolve('none.example'), []);
  assert.deepEqual(await resolver.resolve('none.example'), []);
  assert.equal(asked.length, 2);
});

test('many askers of one name share one question', async () => {
  let asked = 0;
  const answer = Promise.withResolvers<void>();
  const resolver = new NameResolver([
    async () => {
      asked++;
      await answer.promise;
      return { addresses: ['10.0.0.1'], ttlMs: 0 };
    },
  ]);
  const all = Promise.all([1, 2, 3].map(() => resolver.resolve('a.example')));
  answer.resolve();
  assert.deepEqual(await all, [['10.0.0.1'], ['10.0.0.1'], ['10.0.0.1']]);
  assert.equal(asked, 1);
});

test('the hosts file is read as the system reads it', async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, 'hosts');
  await writeFile(path, '# comment\n10.0.0.1\treg.lab  alias # x.lab\nfd00::1 reg.lab\nnonsense y.lab\n\n');
  const ask = hostsFile(path);
  const addresses = async (host: string) => (await ask(host))?.addresses;
  assert.deepEqual(await addresses('reg.lab'), ['10.0.0.1', 'fd00::1']);
  assert.deepEqual(await addresses('alias'), ['10.0.0.1']);
  assert.deepEqual(await addresses('x.lab'), []);
  assert.deepEqual(await addresses('y.lab'), []);
  await writeFile(path, '10.0.0.9 reg.lab\n');
  assert.deepEqual(await addresses('reg.lab'), ['10.0.0.9'], 'an edit counts for the next question');
});
