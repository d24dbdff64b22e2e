import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { digestOf } from '../../src/blob/digest.ts';
import { httpGet } from './http-get.ts';
import {
  OCI_INDEX,
  OCI_MANIFEST,
  type Repository,
  seededBytes,
  startOrigin,
  type TestOrigin,
} from './origin.ts';

const ABSENT = `sha256:${'0'.repeat(64)}`;

describe('a test origin as a registry', () => {
  let origin: TestOrigin;
  let repository: Repository;
  before(async () => {
    origin = await startOrigin();
    repository = origin.repository('lab/app');
  });
  beforeEach(() => origin.reset());
  after(() => origin.close());

  it('answers the base address, and 404 documents in the specification’s form', async () => {
    const base = await httpGet(`${origin.url}/v2/`);
    assert.equal(base.status, 200);
    assert.equal(base.header('docker-distribution-api-version'), 'registry/2.0');
    for (const [path, code] of [
      [`/v2/lab/app/blobs/${ABSENT}`, 'BLOB_UNKNOWN'],
      ['/v2/lab/app/manifests/absent', 'MANIFEST_UNKNOWN'],
      [`/v2/lab/nothing/blobs/${ABSENT}`, 'NAME_UNKNOWN'],
    ] as const) {
      const answer = await httpGet(origin.url + path);
      assert.equal(answer.status, 404);
      assert.equal((answer.json() as { errors: { code: string }[] }).errors[0]?.code, code);
    }
  });

  it('serves a seeded blob that is what its digest says', async () => {
    const blob = repository.addBlob({ size: 3_000_001, seed: 'whole' });
    const hash = createHash('sha256');
    const answer = await httpGet(origin.url + blob.path, { onChunk: (chunk) => hash.update(chunk) });
    assert.equal(answer.status, 200);
    assert.equal(answer.header('content-length'), '3000001');
    assert.equal(answer.header('docker-content-digest'), blob.digest);
    assert.equal(`sha256:${hash.digest('hex')}`, blob.digest);
    assert.equal(origin.bytesSent(), 3_000_001);
  });

  it('answers ranges by RFC 9110', async () => {
    const size = 1_000_003;
    const blob = repository.addBlob({ size, seed: 'ranges' });
    const cases: [string, number, number][] = [
      ['bytes=0-0', 0, 1],
      ['bytes=17-99', 17, 100],
      ['bytes=999990-', 999_990, size],
      ['bytes=-5', size - 5, size],
      [`bytes=-${size + 10}`, 0, size],
      [`bytes=300000-${size * 2}`, 300_000, size],
    ];
    for (const [range, start, end] of cases) {
      const answer = await httpGet(origin.url + blob.path, { headers: { range } });
      assert.equal(answer.status, 206, range);
      assert.equal(answer.header('content-range'), `bytes ${start}-${end - 1}/${size}`, range);
      assert.ok(answer.body.equals(seededBytes('ranges', { start, end })), range);
      const head = await httpGet(origin.url + blob.path, { method: 'HEAD', headers: { range } });
      assert.equal(head.header('content-length'), String(end - start), range);
      assert.equal(head.bytes, 0);
    }
    for (const range of [`bytes=${size}-`, 'bytes=-0', `bytes=${size + 5}-${size + 9}`]) {
      const answer = await httpGet(origin.url + blob.path, { headers: { range } });
      assert.equal(answer.status, 416, range);
      assert.equal(answer.header('content-range'), `bytes */${size}`);
    }
    for (const range of ['bytes=5-3', 'bytes=', 'items=0-5', 'bytes=0-1,5-6', 'bytes=a-b']) {
      const answer = await httpGet(origin.url + blob.path, { headers: { range } });
      assert.deepEqual([answer.status, answer.bytes], [200, size], range);
    }
  });

  it('honours If-Range and If-None-Match', async () => {
    const blob = repository.addBlob({ size: 100, seed: 'conditions' });
    const etag = `"${blob.digest}"`;
    const get = (headers: Record<string, string>) => httpGet(origin.url + blob.path, { headers });
    assert.equal((await get({ range: 'bytes=1-2', 'if-range': etag })).status, 206);
    assert.equal((await get({ range: 'bytes=1-2', 'if-range': '"other"' })).status, 200);
    assert.equal((await get({ 'if-none-match': etag })).status, 304);
  });

  it('serves manifests by tag and digest to those whose Accept lines take them', async () => {
    const manifest = repository.addManifest({ schemaVersion: 2, mediaType: OCI_MANIFEST }, { tag: 'v1' });
    for (const reference of ['v1', manifest.digest]) {
      const url = `${origin.url}/v2/lab/app/manifests/${reference}`;
      const answer = await httpGet(url, {
        headers: [
          ['Accept', 'application/vnd.docker.distribution.manifest.v2+json'],
          ['Accept', `${OCI_INDEX}, ${OCI_MANIFEST};q=0.5`],
        ],
      });
      assert.equal(answer.status, 200);
      assert.equal(answer.header('content-type'), OCI_MANIFEST);
      assert.equal(digestOf(answer.body), manifest.digest);
      assert.equal((await httpGet(url, { method: 'HEAD' })).header('docker-content-digest'), manifest.digest);
      assert.equal((await httpGet(url, { headers: { accept: OCI_INDEX } })).status, 404);
      assert.equal((await httpGet(url, { headers: { accept: '*/*', range: 'bytes=0-1' } })).status, 200);
    }
  });

  it('pages tags and lists referrers', async () => {
    const app = origin.repository('lab/lists');
    const subject = app.addManifest({ schemaVersion: 2, n: 1 }, { tag: 'a' });
    for (const tag of ['c', 'b']) app.tags.set(tag, subject.digest);
    const first = await httpGet(`${origin.url}/v2/lab/lists/tags/list?n=2`);
    assert.deepEqual(first.json(), { name: 'lab/lists', tags: ['a', 'b'] });
    const next = /<(.+)>/.exec(first.header('link') ?? '')?.[1] ?? '';
    assert.deepEqual((await httpGet(origin.url + next)).json(), { name: 'lab/lists', tags: ['c'] });

    const { mediaType, digest, size } = subject;
    const signature = app.addManifest({ artifactType: 'text/sig', subject: { mediaType, digest, size } });
    const url = `${origin.url}/v2/lab/lists/referrers/${digest}`;
    const list = (await httpGet(`${url}?artifactType=text/sig`)).json() as {
      manifests: { digest: string }[];
    };
    assert.deepEqual(
      list.manifests.map((entry) => entry.digest),
      [signature.digest],
    );
    assert.deepEqual(((await httpGet(`${url}?artifactType=text/no`)).json() as typeof list).manifests, []);
  });

  it('takes a push: in chunks, in one piece, by mount, and the manifest at the end', async () => {
    const bytes = seededBytes('push', { start: 0, end: 100_000 });
    const digest = digestOf(bytes);
    const uploads = `${origin.url}/v2/lab/pushed/blobs/uploads/`;
    const begun = await httpGet(uploads, { method: 'POST', body: '' });
    assert.equal(begun.status, 202);
    const place = origin.url + begun.header('location');
    assert.equal((await httpGet(place, { method: 'PATCH', body: bytes.subarray(0, 40_000) })).status, 202);
    assert.equal((await httpGet(place)).header('range'), '0-39999');
    const wrong = await httpGet(`${place}?digest=${ABSENT}`, { method: 'PUT', body: '' });
    assert.equal(wrong.status, 400);
    const whole = await httpGet(`${uploads}?digest=${digest}`, { method: 'POST', body: bytes });
    assert.equal(whole.status, 201);
    const mount = await httpGet(`${origin.url}/v2/lab/other/blobs/uploads/?mount=${digest}&from=lab/pushed`, {
      method: 'POST',
      body: '',
    });
    assert.equal(mount.status, 201);
    assert.ok((await httpGet(origin.url + mount.header('location'))).body.equals(bytes));
    const put = await httpGet(`${origin.url}/v2/lab/pushed/manifests/v1`, {
      method: 'PUT',
      headers: { 'content-type': OCI_MANIFEST },
      body: JSON.stringify({ schemaVersion: 2 }),
    });
    assert.equal(put.status, 201);
    const { mediaType, digest: subject, size } = origin.repository('lab/pushed').manifest('v1') ?? {};
    const referrer = await httpGet(`${origin.url}/v2/lab/pushed/manifests/sig`, {
      method: 'PUT',
      headers: { 'content-type': OCI_MANIFEST },
      body: JSON.stringify({ schemaVersion: 2, subject: { mediaType, digest: subject, size } }),
    });
    assert.equal(referrer.header('oci-subject'), subject);
    assert.equal(origin.repository('lab/pushed').manifest('v1')?.digest, put.header('docker-content-digest'));
  });

  it('keeps the first of two contents with one digest, so that its file is closed in the end', () => {
    const app = origin.repository('lab/twice');
    const first = app.addBlob({ size: 10, seed: 'twice' });
    assert.equal(app.addBlob(seededBytes('twice', { start: 0, end: 10 })), first);
  });

  it('remembers what came', async () => {
    const blob = repository.addBlob({ size: 50, seed: 'log' });
    await httpGet(`${origin.url}${blob.path}?ns=docker.io`, {
      headers: [
        ['X-Twice', 'a'],
        ['X-Twice', 'b'],
        ['Range', 'bytes=0-9'],
        ['Authorization', 'Basic xyz'],
      ],
    });
    await origin.idle();
    const [record] = origin.requests;
    assert.ok(record);
    assert.equal(record.url, `${blob.path}?ns=docker.io`);
    assert.deepEqual(
      [record.method, record.path, record.endpoint, record.repository, record.digest, record.range],
      ['GET', blob.path, 'blob', 'lab/app', blob.digest, 'bytes=0-9'],
    );
    assert.deepEqual(
      [record.authorization, record.status, record.bytesSent, record.aborted],
      ['basic', 206, 10, false],
    );
    assert.ok(record.rawHeaders.join('\n').includes('X-Twice\na\nX-Twice\nb'));
    assert.equal(origin.bytesSent({ digest: blob.digest }), 10);
    assert.equal(origin.bytesSent({ repository: 'lab/other' }), 0);
    origin.reset();
    assert.equal(origin.bytesSent(), 0);
  });
});
