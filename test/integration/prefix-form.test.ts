import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';
import { seededBytes } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';
import { setup } from './support/setup.ts';

const PREFIX = '/dadip2p';
const OVERLAYBD = { 'User-Agent': 'overlaybd/1.0.14' };
const MIB = 1 << 20;

/** A store that does as it is told, and a node that lists it. */
async function store(t: TestContext, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const folder = await tempFolder(t);
  const seen: IncomingMessage[] = [];
  const server = await listening(
    createServer((request, response) => {
      seen.push(request);
      answer(request, response);
    }),
  );
  t.after(() => server.close());
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify([{ host: server.host, insecure: true }])}`,
  ]);
  t.after(() => node.stop());
  return { node, server, seen };
}

test('a registry blob behind a prefix: size question, ranges, cache, rights', async (t) => {
  const { origin, node } = await setup(t, { origin: { auth: 'basic', users: { alice: 'x' } } });
  const size = 5 * MIB + 123;
  const blob = origin.repository('lab/overlaybd').addBlob({ size, seed: 'overlaybd' });
  const secret = origin.repository('lab/secret', { readers: ['alice'] }).addBlob({ size: 1000, seed: 's' });
  const alice = { Authorization: `Basic ${Buffer.from('alice:x').toString('base64')}` };
  const get = (path: string, headers: Record<string, string> = {}) =>
    httpGet(node.url, { target: `${PREFIX}/${origin.url}${path}`, headers: { ...OVERLAYBD, ...headers } });

  const question = await get(blob.path, { Range: 'bytes=0-0' });
  assert.equal(question.status, 206);
  assert.equal(question.header('content-range'), `bytes 0-0/${size}`);
  assert.equal(question.bytes, 1);
  for (const [first, last] of [
    [0, 4095],
    [MIB - 5, MIB + 5],
    [size - 10, size + 1000],
  ] as const) {
    const part = await get(blob.path, { Range: `bytes=${first}-${last}` });
    assert.equal(part.status, 206);
    const end = Math.min(last + 1, size);
    assert.equal(part.header('content-range'), `bytes ${first}-${end - 1}/${size}`);
    assert.ok(part.body.equals(seededBytes('overlaybd', { start: first, end })));
  }
  assert.equal((await get(blob.path, { Range: `bytes=${size}-` })).status, 416);
  const before = origin.requests.length;
  const warm = await get(blob.path, { Range: 'bytes=0-99' });
  assert.match(warm.header('x-damselfly-source') ?? '', /memory|disk/);
  assert.equal(origin.requests.slice(before).filter(({ method }) => method === 'GET').length, 0);

  const refused = await get(secret.path, { Range: 'bytes=0-9' });
  assert.equal(refused.status, 401);
  assert.match(refused.header('www-authenticate') ?? '', /^Basic /);
  assert.equal((await get(secret.path, { Range: 'bytes=0-9', ...alice })).status, 206);
  assert.equal((await get(secret.path, { Range: 'bytes=0-9' })).status, 401);
});

test('many clients cost the origin one blob', async (t) => {
  const { origin, node } = await setup(t);
  const size = 12 * MIB;
  const blob = origin.repository('lab/many').addBlob({ size, seed: 'many' });
  const block = 256 << 10;
  const client = async (index: number): Promise<void> => {
    for (let i = 0; i < size / block; i += 1) {
      // Each in an order of its own.
      const first = ((i * 7 + index * 5) % (size / block)) * block;
      const part = await httpGet(node.url, {
        target: `${PREFIX}/${origin.url}${blob.path}`,
        headers: { ...OVERLAYBD, Range: `bytes=${first}-${first + block - 1}` },
      });
      assert.equal(part.status, 206);
      assert.ok(part.body.equals(seededBytes('many', { start: first, end: first + block })));
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, index) => client(index)));
  await eventually(() => origin.requests.every(({ endedAtMs }) => endedAtMs !== undefined));
  const sent = origin.requests
    .filter(({ method }) => method === 'GET')
    .reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  assert.ok(sent <= size * 1.05, `${sent / size} times the blob`);
});

test('a URL is asked for byte for byte, with the Authorization that the client sent and no other', async (t) => {
  const { node, server, seen } = await store(t, (_request, response) => response.end('ok'));
  const tails = [
    '//double//slash/../dots/./x',
    '/%2F%2f%zz?sig=a%2Bb+c&X-Amz-Date=1&=&&',
    '?only=query',
    '/x?url=https://other.example/y&z',
    '/x?a=?b??c',
  ];
  for (const prefix of [PREFIX, '', '/a/b//c']) {
    for (const tail of tails) {
      const answer = await httpGet(node.url, { target: `${prefix}/${server.url}${tail}` });
      assert.equal(answer.status, 200, tail);
      assert.equal(seen.at(-1)?.url, tail.startsWith('/') ? tail : `/${tail}`);
      assert.equal(seen.at(-1)?.headers.host, server.host);
      assert.equal(seen.at(-1)?.headers.authorization, undefined);
    }
  }
  await httpGet(node.url, { target: `${PREFIX}/${server.url}/x`, headers: { Authorization: 'Bearer t' } });
  assert.equal(seen.at(-1)?.headers.authorization, 'Bearer t');
});

test('a store that answers a range with the whole never makes a wrong answer', async (t) => {
  const bytes = seededBytes('store', { start: 0, end: 3 * MIB });
  const { node, server, seen } = await store(t, (request, response) => {
    if (request.url?.startsWith('/chunked')) response.writeHead(200).write(bytes.subarray(0, 10));
    else response.writeHead(200, { 'Content-Length': bytes.length });
    response.end(bytes);
  });
  const get = (path: string, range: string) =>
    httpGet(node.url, {
      target: `${PREFIX}/${server.url}${path}?sig=1`,
      headers: { ...OVERLAYBD, Range: range },
    });
  const question = await get('/blob', 'bytes=0-0');
  assert.equal(question.status, 206);
  assert.equal(question.header('content-range'), `bytes 0-0/${bytes.length}`);
  assert.ok(question.body.equals(bytes.subarray(0, 1)));
  const part = await get('/blob', 'bytes=1500000-1599999');
  assert.equal(part.status, 206);
  assert.equal(part.header('content-length'), '100000');
  assert.ok(part.body.equals(bytes.subarray(1_500_000, 1_600_000)));
  assert.equal((await get('/blob', `bytes=${bytes.length}-`)).status, 416);
  assert.equal(seen.at(-1)?.headers.range, `bytes=${bytes.length}-`);
  assert.equal((await get('/chunked', 'bytes=5-9')).status, 502);
  assert.ok((await get('/blob', 'nonsense')).body.equals(bytes));
  // nydus v3 takes its bytes by the absolute form, and cuts a longer body off.
  const absolute = await httpGet(node.url, {
    target: `${server.url}/blob`,
    headers: { Range: 'bytes=9-18' },
  });
  assert.equal(absolute.status, 206);
  assert.ok(absolute.body.equals(bytes.subarray(9, 19)));
});

test("what only a proxy may say is not taken from an origin's lips", async (t) => {
  const { node, server } = await store(t, (_request, response) => {
    response.writeHead(403, {
      'X-Dragonfly-Error-Type': 'proxy',
      'X-Damselfly-Source': 'memory',
      'X-Other': 'x',
    });
    response.end();
  });
  for (const path of ['/object', `/v2/lab/x/blobs/sha256:${'a'.repeat(64)}`, '/v2/']) {
    const answer = await httpGet(node.url, { target: `${PREFIX}/${server.url}${path}` });
    assert.equal(answer.status, 403);
    assert.equal(answer.header('x-dragonfly-error-type'), undefined);
    assert.equal(answer.header('x-damselfly-source'), undefined);
    assert.equal(answer.header('x-other'), 'x');
  }
});
