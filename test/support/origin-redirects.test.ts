import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { httpGet } from './http-get.ts';
import { seededBytes, startOrigin, type TestBlob, type TestOrigin } from './origin.ts';

describe('redirects of a test origin', () => {
  let origin: TestOrigin;
  let blob: TestBlob;
  before(async () => {
    origin = await startOrigin();
    blob = origin.repository('lab/app').addBlob({ size: 1_000, seed: 'far' });
  });
  beforeEach(() => origin.reset());
  after(() => origin.close());

  const locationOf = async (method = 'GET') =>
    (await httpGet(origin.url + blob.path, { method })).header('location') ?? '';

  it('lead with any status to a signed URL on another port', async () => {
    for (const status of [301, 302, 303, 307, 308] as const) {
      origin.redirect = { status };
      const answer = await httpGet(origin.url + blob.path, { headers: { range: 'bytes=5-9' } });
      assert.equal(answer.status, status);
      const location = answer.header('location') ?? '';
      assert.ok(location.startsWith(`${origin.cdnUrl}/cdn/`) && origin.cdnUrl !== origin.url);
      const far = await httpGet(location, { headers: { range: 'bytes=5-9' } });
      assert.equal(far.status, 206);
      assert.ok(far.body.equals(seededBytes('far', { start: 5, end: 10 })));
      assert.equal(origin.bytesSent(), 5, 'the body of a redirect is no blob byte');
      origin.reset();
    }
  });

  it('may be relative, and may lead round and round', async () => {
    origin.redirect = { status: 307, location: 'relative' };
    const relative = await locationOf();
    assert.match(relative, /^\/cdn\//);
    const far = await httpGet(origin.url + relative, { headers: { authorization: 'Bearer x' } });
    assert.equal(far.status, 200);
    origin.redirect = { status: 302, location: 'loop' };
    const first = await locationOf();
    const second = (await httpGet(origin.url + first)).header('location');
    assert.deepEqual([first, second], [`${blob.path}?hop=1`, `${blob.path}?hop=2`]);
  });

  it('signed URLs expire, wear out and cannot be forged', async () => {
    origin.redirect = { status: 307, lifetimeMs: -1 };
    const expired = await httpGet(await locationOf());
    assert.equal(expired.status, 403);
    assert.match(expired.body.toString(), /Request has expired/);
    origin.redirect = { status: 307, maxUses: 2, refusal: 401 };
    const location = await locationOf();
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await httpGet(location)).status);
    assert.deepEqual(statuses, [200, 200, 401]);
    const other = await locationOf();
    assert.equal((await httpGet(other.replace(/X-Expires=\d+/, 'X-Expires=9999999999'))).status, 401);
    const later = await locationOf();
    origin.redirects.expireAll();
    assert.equal((await httpGet(later)).status, 401);
  });

  it('signed for GET: HEAD is refused, or never redirected', async () => {
    origin.redirect = { status: 307, methods: 'GET' };
    assert.equal((await httpGet(await locationOf('HEAD'), { method: 'HEAD' })).status, 403);
    assert.equal((await httpGet(await locationOf('HEAD'))).status, 200);
    origin.redirect = { status: 307, redirectHead: false };
    const head = await httpGet(origin.url + blob.path, { method: 'HEAD' });
    assert.deepEqual([head.status, head.header('content-length')], [200, '1000']);
  });

  it('refuse a credential beside the signature', async () => {
    origin.redirect = { status: 307 };
    const answer = await httpGet(await locationOf(), { headers: { authorization: 'Bearer leaked' } });
    assert.equal(answer.status, 400);
    assert.equal(origin.requests.at(-1)?.authorization, 'bearer');
  });

  it('meet faults of their own', async () => {
    origin.redirect = { status: 307 };
    origin.fault({ match: { endpoint: 'cdn' }, action: { status: 503 } });
    assert.equal((await httpGet(await locationOf())).status, 503);
    await origin.down({ part: 'cdn' });
    await assert.rejects(
      locationOf().then((location) => httpGet(location)),
      { code: 'ECONNREFUSED' },
    );
    await origin.up({ part: 'cdn' });
    origin.reset();
    assert.equal((await httpGet(await locationOf())).status, 200);
  });
});
