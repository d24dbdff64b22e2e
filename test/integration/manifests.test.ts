import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';
import {
  headerValues,
  OCI_INDEX,
  OCI_MANIFEST,
  type OriginOptions,
  type RequestRecord,
  type TestManifest,
} from '../support/origin.ts';
import { type Setup, setup } from './support/setup.ts';

const MIB = 1 << 20;
/** As skopeo sends them: each on a line of its own. */
const SIX_ACCEPTS = [
  OCI_MANIFEST,
  OCI_INDEX,
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  'application/vnd.docker.distribution.manifest.v1+json',
] as const;
const OCTETS = 'application/octet-stream';
const TAG = '/v2/lab/image/manifests/v1';

interface Lab extends Setup {
  readonly manifest: TestManifest;
}

async function lab(t: Parameters<typeof setup>[0], options: OriginOptions = {}): Promise<Lab> {
  const made = await setup(t, { origin: options });
  const repository = made.origin.repository('lab/image');
  const layer = repository.addBlob({ size: 2 * MIB, seed: 'layer' });
  const manifest = repository.addManifest(
    {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      layers: [
        { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.size },
      ],
    },
    { tag: 'v1' },
  );
  return { ...made, manifest };
}

const methods = (requests: readonly RequestRecord[]): string[] =>
  requests.filter(({ endpoint }) => endpoint === 'manifest').map(({ method }) => method);

function assertIs(answer: HttpAnswer, manifest: TestManifest): void {
  assert.equal(answer.status, 200);
  assert.equal(answer.header('content-type'), manifest.mediaType);
  assert.equal(answer.header('content-length'), String(manifest.size));
  assert.equal(answer.header('docker-content-digest'), manifest.digest);
  assert.ok(answer.body.equals(manifest.bytes));
}

describe('manifests', () => {
  it('a tag is asked for by HEAD first, and no GET is spent while its digest is here', async (t) => {
    const { origin, node, manifest } = await lab(t);
    assertIs(await httpGet(node.url + TAG), manifest);
    assert.deepEqual(methods(origin.requests), ['HEAD', 'GET']);
    origin.reset();
    for (let i = 0; i < 3; i += 1) assertIs(await httpGet(node.url + TAG), manifest);
    assert.deepEqual(methods(origin.requests), ['HEAD', 'HEAD', 'HEAD']);
    origin.reset();
    assertIs(await httpGet(node.url + manifest.path), manifest);
    assert.deepEqual(methods(origin.requests), []);
    const moved = origin
      .repository('lab/image')
      .addManifest({ schemaVersion: 2, mediaType: OCI_MANIFEST, layers: [] }, { tag: 'v1' });
    assertIs(await httpGet(node.url + TAG), moved);
  });

  it('one that was read as a blob before is still a manifest, by its digest and by its tag', async (t) => {
    const { origin, node, manifest } = await lab(t);
    const asBlob = origin.repository('lab/image').addBlob(manifest.bytes);
    assert.equal(asBlob.digest, manifest.digest);
    assert.equal((await httpGet(node.url + asBlob.path)).header('content-type'), OCTETS);
    assertIs(await httpGet(node.url + manifest.path), manifest);
    assertIs(await httpGet(node.url + TAG), manifest);
  });

  it('a HEAD of a tag and of a digest costs no GET', async (t) => {
    const { origin, node, manifest } = await lab(t);
    for (const path of [TAG, manifest.path]) {
      const answer = await httpGet(node.url + path, { method: 'HEAD' });
      assert.equal(answer.status, 200);
      assert.equal(answer.header('docker-content-digest'), manifest.digest);
      assert.equal(answer.header('content-length'), String(manifest.size));
      assert.equal(answer.header('content-type'), manifest.mediaType);
    }
    assert.ok(methods(origin.requests).every((method) => method === 'HEAD'));
  });

  it("six Accept lines reach the origin as six, and a refusal of them is the origin's", async (t) => {
    const { origin, node, manifest } = await lab(t);
    const accept = SIX_ACCEPTS.map((type) => ['Accept', type] as const);
    assertIs(await httpGet(node.url + TAG, { headers: accept }), manifest);
    for (const request of origin.find({ endpoint: 'manifest' })) {
      assert.deepEqual(headerValues(request.rawHeaders, 'accept'), SIX_ACCEPTS, request.method);
    }
    const other = await httpGet(`${node.url}/v2/lab/image/tags/list`, { headers: accept });
    assert.equal(other.status, 200);
    assert.deepEqual(
      headerValues(origin.find({ endpoint: 'tags' })[0]?.rawHeaders ?? [], 'accept'),
      SIX_ACCEPTS,
    );
    const refused = await httpGet(node.url + TAG, { headers: { Accept: 'text/plain' } });
    const direct = await httpGet(origin.url + TAG, { headers: { Accept: 'text/plain' } });
    assert.equal(refused.status, direct.status);
    assert.equal(refused.body.toString(), direct.body.toString());
  });

  it('8.11 a Range on a manifest is ignored, cold and warm, by tag and by digest', async (t) => {
    const { origin, node, manifest } = await lab(t);
    for (let round = 0; round < 2; round += 1) {
      for (const path of [TAG, manifest.path]) {
        const answer = await httpGet(node.url + path, { headers: { Range: 'bytes=0-3' } });
        assertIs(answer, manifest);
        assert.equal(answer.header('accept-ranges'), undefined);
      }
    }
    for (const request of origin.find({ endpoint: 'manifest' })) assert.equal(request.range, undefined);
  });

  it('a manifest that is not what it is called by is not passed on, and not kept', async (t) => {
    const { origin, node, manifest } = await lab(t);
    const wrong = Buffer.from(manifest.bytes);
    wrong.set(Buffer.from('3'), wrong.indexOf('2'));
    const fault = origin.fault({
      match: { endpoint: 'manifest', method: 'GET' },
      action: {
        status: 200,
        body: wrong,
        headers: { 'Content-Type': OCI_MANIFEST, 'Docker-Content-Digest': manifest.digest },
      },
    });
    for (const path of [TAG, manifest.path]) {
      const answer = await httpGet(node.url + path);
      assert.equal(answer.status, 502, path);
    }
    fault.remove();
    for (const path of [TAG, manifest.path]) assertIs(await httpGet(node.url + path), manifest);
  });
});

describe('ns', () => {
  it('8.27 ns names the origin, is echoed as OCI-Namespace, and is not forwarded', async (t) => {
    const { origin, node, manifest } = await lab(t);
    const layer = origin.repository('lab/image').addBlob({ size: 2 * MIB, seed: 'layer' });
    const ns = `ns=${encodeURIComponent(origin.host)}`;
    for (let round = 0; round < 2; round += 1) {
      for (const method of ['HEAD', 'GET']) {
        for (const path of [TAG, manifest.path, layer.path]) {
          const answer = await httpGet(`${node.url}${path}?${ns}`, { method });
          assert.equal(answer.status, 200);
          assert.equal(answer.header('oci-namespace'), origin.host, `${method} ${path}`);
        }
      }
    }
    const tags = await httpGet(`${node.url}/v2/lab/image/tags/list?n=1&${ns}`);
    assert.deepEqual(tags.json(), { name: 'lab/image', tags: ['v1'] });
    for (const { url } of origin.requests) assert.ok(!url.includes('ns='), url);
    assert.equal(origin.find({ endpoint: 'tags' })[0]?.url, '/v2/lab/image/tags/list?n=1');
    assert.equal((await httpGet(node.url + TAG)).header('oci-namespace'), undefined);
  });
});

describe('what passes through', () => {
  it("8.5 GET /v2/ is the origin's own challenge, asked for once, and with a credential each time", async (t) => {
    const { origin, node } = await lab(t, { auth: 'token', users: { alice: 'secret' } });
    const direct = await httpGet(`${origin.url}/v2/`);
    origin.reset();
    for (let i = 0; i < 3; i += 1) {
      const answer = await httpGet(`${node.url}/v2/`);
      assert.equal(answer.status, 401);
      assert.deepEqual(
        headerValues(answer.rawHeaders, 'www-authenticate'),
        headerValues(direct.rawHeaders, 'www-authenticate'),
      );
      assert.equal(answer.body.toString(), direct.body.toString());
    }
    assert.equal(origin.requests.length, 1);
    const token = origin.issueToken({ repository: 'lab/image', user: 'alice' });
    for (let i = 0; i < 2; i += 1) {
      const answer = await httpGet(`${node.url}/v2/`, { headers: { Authorization: `Bearer ${token}` } });
      assert.equal(answer.status, 200);
    }
    assert.equal(origin.requests.length, 3);
  });

  it('GET /v2/ of one client leaves nothing of it in what the others get', async (t) => {
    const { origin, node } = await lab(t, { auth: 'token', users: { alice: 'secret' } });
    origin.fault({ match: { endpoint: 'base' }, action: { headers: { 'Set-Cookie': 'session=1' } } });
    const headers = { 'X-Forwarded-Host': 'elsewhere.example', 'X-Auth-Token': 'mine', Range: 'bytes=0-1' };
    const first = await httpGet(`${node.url}/v2/?ns=${encodeURIComponent(origin.url)}`, { headers });
    assert.equal(first.status, 401);
    assert.equal(first.header('oci-namespace'), origin.url);
    const [asked] = origin.requests;
    for (const name of Object.keys(headers))
      assert.deepEqual(headerValues(asked?.rawHeaders ?? [], name), []);
    const second = await httpGet(`${node.url}/v2/`);
    assert.equal(second.status, 401);
    assert.equal(second.header('oci-namespace'), undefined);
    assert.equal(second.header('set-cookie'), undefined);
    assert.equal(origin.requests.length, 1);
    await httpGet(`${node.url}/v2/?realm=elsewhere.example`);
    assert.equal(origin.requests.at(-1)?.url, '/v2/?realm=elsewhere.example', 'a query passes through');
    await httpGet(`${node.url}/v2/`);
    assert.equal(origin.requests.length, 2, 'and its answer is not kept');
  });

  it('8.18 the token endpoint, by POST and by GET, and then a pull with what it gave', async (t) => {
    const { origin, node, manifest } = await lab(t, { auth: 'token', users: { alice: 'secret' } });
    const form = new URLSearchParams({
      grant_type: 'password',
      service: 'test-registry',
      scope: 'repository:lab/image:pull',
      username: 'alice',
      password: 'secret',
      client_id: 'test',
    }).toString();
    const posted = await httpGet(node.url, {
      method: 'POST',
      target: `${origin.url}/token`,
      headers: { Host: origin.host, 'Content-Type': 'application/x-www-form-urlencoded' },
      body: form,
    });
    assert.equal(posted.status, 200, posted.body.toString());
    const { access_token: token } = posted.json() as { access_token?: string };
    assert.ok(token);
    const got = await httpGet(node.url, {
      target: `${origin.url}/token?service=test-registry&scope=repository:lab/image:pull`,
      headers: {
        Host: origin.host,
        Authorization: `Basic ${Buffer.from('alice:secret').toString('base64')}`,
      },
    });
    assert.equal(got.status, 200, got.body.toString());
    assertIs(await httpGet(node.url + TAG, { headers: { Authorization: `Bearer ${token}` } }), manifest);
    assert.equal((await httpGet(node.url + TAG)).status, 401);
  });

  it('a push: begun, sent in two parts, finished, and then pulled', async (t) => {
    const { origin, node } = await lab(t);
    const bytes = Buffer.alloc(3 * MIB, 'push ');
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const begun = await httpGet(`${node.url}/v2/lab/pushed/blobs/uploads/`, { method: 'POST', body: '' });
    assert.equal(begun.status, 202, begun.body.toString());
    const at = (answer: HttpAnswer): string =>
      new URL(answer.header('location') ?? '', origin.url).href.replace(origin.url, node.url);
    const patched = await httpGet(at(begun), {
      method: 'PATCH',
      body: bytes.subarray(0, 2 * MIB),
      headers: { 'Content-Range': `0-${2 * MIB - 1}`, 'Content-Type': 'application/octet-stream' },
    });
    assert.equal(patched.status, 202, patched.body.toString());
    const url = at(patched);
    const done = await httpGet(`${url}${url.includes('?') ? '&' : '?'}digest=${digest}`, {
      method: 'PUT',
      body: bytes.subarray(2 * MIB),
    });
    assert.equal(done.status, 201, done.body.toString());
    const pulled = await httpGet(`${node.url}/v2/lab/pushed/blobs/${digest}`);
    assert.equal(pulled.status, 200);
    assert.ok(pulled.body.equals(bytes));
    const put = await httpGet(`${node.url}/v2/lab/pushed/manifests/v2`, {
      method: 'PUT',
      headers: { 'Content-Type': OCI_MANIFEST },
      body: JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, layers: [] }),
    });
    assert.equal(put.status, 201);
    assert.equal((await httpGet(`${node.url}/v2/lab/pushed/manifests/v2`)).status, 200);
  });
});

describe('pings', () => {
  it('8.5 pings never touch the origin and stay fast while the node is busy', async (t) => {
    const { origin, node } = await lab(t);
    const blob = origin.repository('lab/image').addBlob({ size: 48 * MIB, seed: 'load' });
    let busy = true;
    const load = Promise.all(
      [1, 2, 3, 4].map(async () => {
        while (busy) await httpGet(node.url + blob.path, { timeoutMs: 60_000, onChunk: () => undefined });
      }),
    );
    try {
      const times: number[] = [];
      for (let i = 0; i < 40; i += 1) {
        const path = ['/', '/v2', '/healthy', '/ping', '/server/ping'][i % 5] ?? '/';
        const answer = await httpGet(node.url + path);
        assert.equal(answer.status, 200, path);
        times.push(answer.endMs);
      }
      times.sort((a, b) => a - b);
      // Client, node and origin share this process and its loop: far looser than the 100 ms that a node owes.
      assert.ok((times[20] ?? 0) < 250, `median ${times[20]} ms`);
      assert.ok((times.at(-1) ?? 0) < 1_500, `slowest ${times.at(-1)} ms`);
    } finally {
      busy = false;
      await load;
    }
    for (const { endpoint } of origin.requests) assert.equal(endpoint, 'blob');
  });
});
