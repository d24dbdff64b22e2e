import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { httpGet } from '../support/http-get.ts';
import { seededBytes, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';
import { listing } from './support/setup.ts';

const SIZE = (4 << 20) + 99;

/** A node with two listeners that are one blob each form: over a unix socket and over TCP. */
async function bound(t: TestContext) {
  const folder = await tempFolder(t);
  const origin = await startOrigin({ auth: 'basic', users: { alice: 'x' } });
  t.after(() => origin.close());
  const repository = origin.repository('lab/bound');
  const blob = repository.addBlob({ size: SIZE, seed: 'bound' });
  const sibling = repository.addBlob({ size: 1000, seed: 'sibling' });
  const secret = origin
    .repository('lab/secret', { readers: ['alice'] })
    .addBlob({ size: 1000, seed: 'secret' });
  const socketPath = folder.file('blob.sock');
  const node = await startNode(folder.file('cache'), [
    ...listing(origin),
    `proxy.listeners=${JSON.stringify([
      { listen: `unix:${socketPath}`, blob: `lab/bound@${blob.digest}` },
      { listen: '127.0.0.1:0', origin: origin.url, blob: `lab/bound@${blob.digest}` },
      { listen: '127.0.0.1:0', blob: `lab/secret@${secret.digest}` },
    ])}`,
  ]);
  t.after(() => node.stop());
  const [, , tcp, locked] = node.addresses.proxy;
  return { origin, node, blob, sibling, socketPath, tcp: `http://${tcp}`, locked: `http://${locked}` };
}

test('over a unix socket / is the blob: its length by HEAD, its bytes by ranges', async (t) => {
  const { origin, blob, socketPath } = await bound(t);
  const at = 'http://localhost/';
  // As nydusd asks for the size.
  const head = await httpGet(at, { socketPath, method: 'HEAD', headers: { Range: 'bytes=0-0' } });
  assert.equal(head.status, 200);
  assert.equal(head.header('content-length'), String(SIZE));
  assert.equal(head.header('docker-content-digest'), blob.digest);
  for (const [first, last] of [
    [0, 0],
    [123_456, 2_345_678],
    [SIZE - 4096, SIZE - 1],
  ] as const) {
    const part = await httpGet(at, { socketPath, headers: { Range: `bytes=${first}-${last}` } });
    assert.equal(part.status, 206);
    assert.ok(part.body.equals(seededBytes('bound', { start: first, end: last + 1 })));
  }
  const before = origin.requests.length;
  const whole = await httpGet(at, { socketPath });
  assert.equal(whole.status, 200);
  assert.ok(whole.body.equals(seededBytes('bound', { start: 0, end: SIZE })));
  const warm = await httpGet(at, { socketPath, headers: { Range: 'bytes=5-9' } });
  assert.match(warm.header('x-damselfly-source') ?? '', /memory|disk/);
  assert.ok(origin.requests.length - before <= 2);
});

test('health checks but / stay health checks', async (t) => {
  const { tcp, socketPath } = await bound(t);
  for (const path of ['/v2', '/healthy', '/ping', '/server/ping'])
    assert.equal((await httpGet(tcp + path)).body.toString(), 'ok\n');
  assert.equal((await httpGet('http://localhost/ping', { socketPath })).body.toString(), 'ok\n');
});

test('over TCP a path that ends in hex is a blob of the same repository, whatever precedes it', async (t) => {
  const { tcp, blob, sibling, node } = await bound(t);
  const hex = blob.digest.slice('sha256:'.length);
  for (const path of [`/${hex}`, `/any/path/${hex}`, '/']) {
    const head = await httpGet(tcp + path, { method: 'HEAD' });
    assert.equal(head.header('content-length'), String(SIZE), path);
    const part = await httpGet(tcp + path, { headers: { Range: 'bytes=7-77' } });
    assert.equal(part.status, 206);
    assert.ok(part.body.equals(seededBytes('bound', { start: 7, end: 78 })));
  }
  const other = await httpGet(`${tcp}/p/${sibling.digest.slice('sha256:'.length)}`);
  assert.ok(other.body.equals(seededBytes('sibling', { start: 0, end: 1000 })));
  // The origin says no, and it is the one to say it.
  assert.equal((await httpGet(`${tcp}/p/${'0'.repeat(64)}`)).status, 404);
  // Elsewhere such a path is the origin's.
  assert.equal((await httpGet(`${node.url}/p/${hex}`)).status, 404);
  // And the other forms work here as everywhere.
  assert.equal((await httpGet(tcp + blob.path)).status, 200);
});

test('what a blob listener gives is given under the same rights', async (t) => {
  const { locked } = await bound(t);
  const refused = await httpGet(`${locked}/`);
  assert.equal(refused.status, 401);
  assert.ok(refused.header('www-authenticate'));
  const alice = `Basic ${Buffer.from('alice:x').toString('base64')}`;
  assert.equal((await httpGet(`${locked}/`, { headers: { Authorization: alice } })).status, 200);
  assert.equal((await httpGet(`${locked}/`)).status, 401);
});
