// The cache is by digest, and clients may name any origin.
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { seededBytes, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';

const MIB = 1 << 20;

async function lab(t: TestContext) {
  const folder = await tempFolder(t);
  const good = await startOrigin({ auth: 'token', users: { alice: 'a' } });
  t.after(() => good.close());
  const evil = await startOrigin();
  t.after(() => evil.close());
  const hosts = [good.host, evil.host].map((host) => ({ host, insecure: true }));
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify(hosts)}`,
    `proxy.defaultOrigin=${good.url}`,
  ]);
  t.after(() => node.stop());
  const blob = good.repository('lab/app', { readers: ['alice'] }).addBlob({ size: 3 * MIB, seed: 'true' });
  const owner = { Authorization: `Bearer ${good.issueToken({ repository: 'lab/app', user: 'alice' })}` };
  return {
    evil,
    node,
    blob,
    owner,
    own: node.url + blob.path,
    lied: `${node.url}${blob.path}?ns=${evil.host}`,
  };
}

describe('two origins', () => {
  it('the lie of one is not read from the other', async (t) => {
    const { evil, blob, owner, own, lied } = await lab(t);
    const headers = { 'Content-Range': `bytes 0-${MIB - 1}/${blob.size}` };
    evil.fault({
      match: { endpoint: 'blob' },
      action: { status: 206, headers, body: Buffer.alloc(MIB, 'X') },
    });
    await httpGet(lied, { headers: { Range: `bytes=0-${MIB - 1}` } });
    const answer = await httpGet(own, { headers: { ...owner, Range: 'bytes=0-999' } });
    assert.ok(answer.body.equals(seededBytes('true', { start: 0, end: 1000 })), 'wrong bytes');
  });

  it('the yes of one does not give away what came from the other', async (t) => {
    const { evil, owner, own, lied } = await lab(t);
    assert.equal((await httpGet(own, { headers: owner })).status, 200);
    evil.fault({ match: { endpoint: 'blob' }, action: { status: 200, headers: { 'Content-Length': '10' } } });
    const thief = await httpGet(lied);
    assert.notEqual(thief.bytes, 3 * MIB, 'a private blob, whole');
  });

  it('that have the same bytes share what is finished, at the cost of a few samples', async (t) => {
    const { evil: other, blob, owner, own, lied: theirs, node } = await lab(t);
    other.repository('lab/app').addBlob({ size: 3 * MIB, seed: 'true' });
    const expected = seededBytes('true', { start: 0, end: 3 * MIB });
    assert.ok((await httpGet(own, { headers: owner })).body.equals(expected));
    const finished = 'x-dragonfly-task-download-finished';
    await eventually(
      async () =>
        (await httpGet(own, { headers: { ...owner, Range: 'bytes=0-0' } })).header(finished) === 'true',
    );
    assert.ok((await httpGet(theirs)).body.equals(expected));
    assert.ok(other.bytesSent() <= 128 * 1024, `${other.bytesSent()} bytes`);
    const asked = other.requests.length;
    assert.ok(
      (await httpGet(theirs, { headers: { Range: 'bytes=5-1048580' } })).body.equals(
        expected.subarray(5, 1_048_581),
      ),
    );
    assert.equal(other.requests.length, asked, 'it has shown that it has them');
    await node.stop();
    assert.equal(blob.size, 3 * MIB);
  });

  it('of which one has an unfinished blob here: the other is read past the cache, exactly', async (t) => {
    const { evil: other, owner, own, lied: theirs } = await lab(t);
    other.repository('lab/app').addBlob({ size: 3 * MIB, seed: 'true' });
    const expected = seededBytes('true', { start: 0, end: 3 * MIB });
    await httpGet(own, { headers: { ...owner, Range: 'bytes=0-99' } });
    for (const [range, start, end] of [
      ['bytes=100-2000099', 100, 2_000_100],
      ['bytes=3000000-', 3_000_000, 3 * MIB],
      ['bytes=-77', 3 * MIB - 77, 3 * MIB],
    ] as const) {
      const answer = await httpGet(theirs, { headers: { Range: range } });
      assert.equal(answer.status, 206);
      assert.ok(answer.body.equals(expected.subarray(start, end)), range);
    }
    const head = await httpGet(theirs, { method: 'HEAD' });
    assert.equal(head.header('content-length'), String(3 * MIB));
    assert.equal((await httpGet(theirs, { headers: { Range: 'bytes=9999999-' } })).status, 416);
    const parts = await httpGet(theirs, { headers: { Range: 'bytes=0-1,5-6' } });
    assert.equal(parts.status, 206);
    assert.match(parts.header('content-type') ?? '', /^multipart\/byteranges/);
    other.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 2 * MIB } });
    const broken = await httpGet(theirs);
    assert.equal(broken.complete, false, 'wrong bytes end in a reset here as well');
    other.clearFaults();
    assert.ok((await httpGet(theirs)).body.equals(expected));
    assert.equal(other.bytesSent() > 6 * MIB, true, 'nothing of it was kept');
  });
});
