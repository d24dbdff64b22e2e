import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  hostsFile,
  NameResolver,
  type NameSource,
  viaDns,
  viaSystem,
} from '../../src/origin/name-resolver.ts';
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

/** Answers A and AAAA questions for the names it knows (RFC 1035 §4), NXDOMAIN for others; silent when told so. */
async function nameServer(
  records: Record<
    string,
    { readonly a?: readonly number[]; readonly aaaa?: readonly number[]; readonly ttl: number }
  >,
  silent = false,
) {
  const socket = createSocket('udp4');
  let questions = 0;
  socket.on('message', (query, { address, port }) => {
    questions++;
    if (silent) return;
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += length + 1;
    }
    const type = query.readUInt16BE(at + 1);
    const record = records[labels.join('.').toLowerCase()];
    const data = type === 1 ? record?.a : type === 28 ? record?.aaaa : undefined;
    const head = Buffer.from([
      ...query.subarray(0, 2),
      0x81,
      record === undefined ? 0x83 : 0x80,
      0,
      1,
      0,
      data === undefined ? 0 : 1,
      0,
      0,
      0,
      0,
    ]);
    const question = query.subarray(12, at + 5);
    const answer =
      data === undefined
        ? Buffer.alloc(0)
        : Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, record?.ttl ?? 0, 0, data.length, ...data]);
    socket.send(Buffer.concat([head, question, answer]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    server: `127.0.0.1:${socket.address().port}`,
    questions: () => questions,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    },
  };
}

test('DNS gives both families with the shorter time to live, and null for what it does not know', async () => {
  await using dns = await nameServer({
    'dual.example': { a: [10, 0, 0, 1], aaaa: [0xfd, ...Array(14).fill(0), 1], ttl: 17 },
    'four.example': { a: [10, 0, 0, 2], ttl: 0 },
  });
  const ask = viaDns([dns.server]);
  assert.deepEqual(await ask('dual.example'), { addresses: ['10.0.0.1', 'fd00::1'], ttlMs: 17_000 });
  assert.deepEqual(await ask('four.example'), { addresses: ['10.0.0.2'], ttlMs: 0 });
  assert.equal(await ask('none.example'), null);
  const resolver = new NameResolver([ask]);
  const before = dns.questions();
  for (let i = 0; i < 3; i++) assert.deepEqual(await resolver.resolve('four.example'), ['10.0.0.2']);
  assert.equal(dns.questions() - before, 2, 'an answer without a time to live is kept for a while');
});

test('a name server that is silent is given up, and the next source asked', async () => {
  await using dns = await nameServer({}, true);
  const next = fake({ 'a.example': ['10.0.0.1'] });
  const resolver = new NameResolver([viaDns([dns.server]), next.source]);
  assert.deepEqual(await resolver.resolve('a.example'), ['10.0.0.1']);
});

test("the system's resolver is the last word", async () => {
  assert.ok(
    (await viaSystem()('localhost'))?.addresses.some(
      (address) => address === '127.0.0.1' || address === '::1',
    ),
  );
});
