import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode, OriginRefusal } from '../../src/errors.ts';
import { startOrigin } from '../support/origin.ts';
import { bytesOf, demand, REPOSITORY, rig } from './support.ts';

const MANIFEST = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', layers: [] };

async function setUp() {
  const origin = await startOrigin();
  const manifest = origin.repository(REPOSITORY).addManifest(MANIFEST, { tag: 'v1' });
  const parts = rig(origin);
  return {
    ...parts,
    origin,
    manifest,
    get: (reference: string, options = {}) =>
      parts.client.getManifest(parts.manifests, reference, { ...demand(), ...options }),
    async [Symbol.asyncDispose]() {
      await parts.close();
      await origin.close();
    },
  };
}

test('a manifest comes whole, by tag and by digest, with its headers', async () => {
  await using parts = await setUp();
  for (const reference of ['v1', parts.manifest.digest]) {
    const answer = await parts.get(reference);
    assert.deepEqual(new Uint8Array(answer.body), new Uint8Array(parts.manifest.bytes));
    assert.equal(answer.header('content-type'), MANIFEST.mediaType);
    assert.equal(answer.header('docker-content-digest'), parts.manifest.digest);
    assert.equal(answer.header('connection'), undefined);
  }
  assert.ok(parts.origin.requests.every(({ range }) => range === undefined));
  assert.equal(await parts.value('damselfly_origin_bytes_total'), 2 * parts.manifest.size);
});

test("a 4xx is the origin's own, with its body and its header lines", async () => {
  await using parts = await setUp();
  await assert.rejects(parts.get('missing'), (error) => {
    assert.ok(error instanceof OriginRefusal);
    assert.equal(error.status, 404);
    assert.match(String(Buffer.from(error.body)), /MANIFEST_UNKNOWN/);
    assert.ok(error.rawHeaders.includes('application/json'));
    return true;
  });
});

test('an error document is bounded', async () => {
  await using parts = await setUp();
  parts.origin.fault({ action: { status: 403, body: 'x'.repeat(200_000) } });
  await assert.rejects(
    parts.get('v1'),
    (error) => error instanceof OriginRefusal && error.body.length === 64 * 1024,
  );
});

test('a manifest whose body breaks off is asked for again, three times in all', async () => {
  await using parts = await setUp();
  const fault = parts.origin.fault({ match: { times: 2 }, action: { resetAtByte: 5 } });
  assert.deepEqual(new Uint8Array((await parts.get('v1')).body), new Uint8Array(parts.manifest.bytes));
  assert.equal(fault.hits, 2);
  assert.equal(await parts.value('damselfly_origin_retries_total', { reason: 'body' }), 2);
  parts.origin.clearFaults();
  const lasting = parts.origin.fault({ action: { endAtByte: 5 } });
  await assert.rejects(parts.get('v1'), (error) => hasCode(error, 'origin-broken'));
  assert.equal(lasting.hits, 3);
});

test('too long, encoded or partial manifests are refused at once', async () => {
  await using parts = await setUp();
  await assert.rejects(parts.get('v1', { maxBytes: 10 }), (error) => hasCode(error, 'origin-broken'));
  for (const action of [{ headers: { 'Content-Encoding': 'gzip' } }, { status: 206 }] as const) {
    parts.origin.clearFaults();
    const fault = parts.origin.fault({ action });
    await assert.rejects(parts.get('v1'), (error) => hasCode(error, 'origin-broken'), JSON.stringify(action));
    assert.equal(fault.hits, 1);
  }
});

test('as a source, a manifest is read whole whatever span was asked', async () => {
  await using parts = await setUp();
  const { digest, bytes, size } = parts.manifest;
  const read = await parts.open(digest, { start: 3, end: 5 }, { upstream: parts.manifests });
  assert.deepEqual(read.span, { start: 0, end: size });
  assert.deepEqual(read.info, { size, mediaType: MANIFEST.mediaType });
  assert.deepEqual(new Uint8Array(await bytesOf(read)), new Uint8Array(bytes));
  await assert.rejects(
    parts.open(digest, { start: size, end: size + 1 }, { upstream: parts.manifests }),
    (error) => hasCode(error, 'range-not-satisfiable') && error.facts.size === size,
  );
  assert.match(
    parts.origin.requests[0]?.rawHeaders.join() ?? '',
    /application\/vnd\.docker\.distribution\.manifest\.list/,
  );
});
