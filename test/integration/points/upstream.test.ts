import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { httpGet } from '../../support/http-get.ts';
import { headerValues, type RequestRecord } from '../../support/origin.ts';
import { clientLab, REPOSITORY } from '../clients/support/lab.ts';

const TAGS = `/v2/${REPOSITORY}/tags/list`;
const all = (request: RequestRecord | undefined, name: string): string[] =>
  headerValues(request?.rawHeaders ?? [], name);

describe('what goes to the origin, and what comes back of it', () => {
  it('8.14 blobs are asked for as they are, whatever the client would take', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const headers = { 'Accept-Encoding': 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5' };
    for (const range of [{}, { Range: 'bytes=0-9' }] as Record<string, string>[]) {
      const [one, two] = layers;
      const { path } = range.Range === undefined ? one : two;
      assert.ok((await httpGet(node.url + path, { headers: { ...headers, ...range } })).status < 300);
    }
    const asked = origin.find({ endpoint: 'blob' });
    assert.ok(asked.length > 0);
    for (const request of asked) assert.deepEqual(all(request, 'accept-encoding'), ['identity']);
  });

  it('8.14 an origin that encodes all the same: Content-Encoding and bytes go on untouched, and are not kept', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const [layer] = layers;
    origin.fault({ match: { endpoint: 'blob' }, action: { gzip: true } });
    const spans = [
      [undefined, 0, layer.size],
      ['bytes=5-99', 5, 100],
      ['bytes=1048577-', 1_048_577, layer.size],
    ] as const;
    for (const [Range, start, end] of [...spans, ...spans]) {
      const headers = { 'Accept-Encoding': 'gzip', ...(Range === undefined ? {} : { Range }) };
      const answer = await httpGet(node.url + layer.path, { headers });
      assert.equal(answer.status, Range === undefined ? 200 : 206, answer.body.subarray(0, 200).toString());
      assert.equal(answer.header('content-encoding'), 'gzip');
      assert.ok(answer.complete && gunzipSync(answer.body).equals(layer.bytes(start, end)), Range);
    }
    origin.clearFaults();
    const plain = await httpGet(node.url + layer.path);
    assert.equal(plain.header('content-encoding'), undefined);
    assert.ok(plain.body.equals(layer.bytes(0, layer.size)));
    const body = gzipSync('{"name":"x","tags":[]}');
    const encoded = { 'Content-Encoding': 'gzip', 'Content-Length': String(body.length) };
    origin.fault({ match: { endpoint: 'tags' }, action: { status: 200, body, headers: encoded } });
    const tags = await httpGet(node.url + TAGS, { headers: { 'Accept-Encoding': 'gzip' } });
    assert.equal(tags.header('content-encoding'), 'gzip');
    assert.ok(tags.body.equals(body));
  });

  it('8.17 a 401 arrives as the origin wrote it, and is neither kept nor made a 5xx', async (t) => {
    const { node, origin, layers, manifest } = await clientLab(t);
    const challenge = 'bearer Service="s",realm="https://auth.example/t?a=b=c", scope="x y", error=none';
    for (const path of [layers[0].path, manifest.path, `/v2/${REPOSITORY}/manifests/v1`, TAGS, '/v2/']) {
      for (const method of ['GET', 'HEAD']) {
        origin.fault({ action: { status: 401, headers: { 'WWW-Authenticate': challenge } } });
        const refused = await httpGet(node.url + path, { method });
        assert.equal(refused.status, 401, `${method} ${path}`);
        assert.deepEqual(
          headerValues(refused.rawHeaders, 'www-authenticate'),
          [challenge],
          `${method} ${path}`,
        );
        origin.clearFaults();
        // The anonymous /v2/ is kept on purpose: the challenge is what it is asked for.
        if (path !== '/v2/') assert.equal((await httpGet(node.url + path, { method })).status, 200, path);
        break;
      }
    }
  });

  it('8.18 the token endpoint is relayed in every form in which clients reach it, credentials and all', async (t) => {
    const { node, origin } = await clientLab(t, { auth: 'token' });
    const scope = `repository:${REPOSITORY}:pull`;
    const form = new URLSearchParams({
      service: 'test-registry',
      scope,
      username: 'alice',
      password: 'in-wonderland',
    });
    const named = { 'X-Dragonfly-Registry': origin.url };
    const posted = { 'Content-Type': 'application/x-www-form-urlencoded' };
    for (const [what, target, headers] of [
      ['through a mirror', '/token', named],
      ['through a proxy', `${origin.url}/token`, {}],
    ] as const) {
      const post = await httpGet(node.url, {
        method: 'POST',
        target,
        headers: { ...headers, ...posted },
        body: form.toString(),
      });
      const get = await httpGet(node.url, { target: `${target}?${form}`, headers });
      for (const answer of [post, get]) {
        assert.equal(answer.status, 200, what);
        const { token } = answer.json() as { token: string };
        const blob = `${node.url}/v2/${REPOSITORY}/manifests/v1`;
        assert.equal((await httpGet(blob, { headers: { Authorization: `Bearer ${token}` } })).status, 200);
      }
    }
    const wrong = await httpGet(`${node.url}/token?${form}x`, { headers: named });
    assert.equal(wrong.status, 401, 'what the endpoint says, and no 404 of ours');
  });

  it('8.26 hop-by-hop and Dragonfly headers stay here; Host is the origin; what is signed stays as it is', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const local: Record<string, string> = {
      Connection: 'keep-alive, X-Mine',
      'Keep-Alive': 'timeout=5',
      'Proxy-Connection': 'keep-alive',
      'Proxy-Authorization': 'Basic c2VjcmV0',
      TE: 'trailers',
      'X-Mine': '1',
      'X-Dragonfly-Registry': origin.url,
      'X-Dragonfly-Tag': 'a',
      'X-Dragonfly-Application': 'b',
      'X-Dragonfly-Filtered-Query-Params': 'c',
      'X-Dragonfly-Use-P2P': 'true',
    };
    const signed: Record<string, string> = {
      Authorization:
        'AWS4-HMAC-SHA256 Credential=A/20260101/r/s3/aws4_request, SignedHeaders=host;range;x-amz-date, Signature=0f',
      'X-Amz-Date': '20260101T000000Z',
      'X-Amz-Content-Sha256': 'UNSIGNED-PAYLOAD',
      Range: 'bytes=3-9',
    };
    const target = `${origin.url}/bucket//key?list=1&a=%2F`;
    await httpGet(node.url, { target, headers: { ...local, ...signed } });
    await httpGet(node.url + layers[0].path, { headers: { ...local, Range: 'bytes=0-9' } });
    await httpGet(node.url + TAGS, { headers: local });
    assert.ok(origin.requests.length >= 3);
    for (const request of origin.requests) {
      assert.deepEqual(all(request, 'host'), [origin.host], request.path);
      for (const name of Object.keys(local)) {
        if (name !== 'Connection') assert.deepEqual(all(request, name), [], `${request.path}: ${name}`);
      }
    }
    const object = origin.requests.find(({ path }) => path.startsWith('/bucket'));
    assert.equal(object?.url, '/bucket//key?list=1&a=%2F');
    for (const [name, value] of Object.entries(signed)) assert.deepEqual(all(object, name), [value], name);
  });

  it('8.27 ns is echoed as OCI-Namespace where it was used, and goes no further', async (t) => {
    const { node, origin, layers, manifest } = await clientLab(t);
    for (const path of [layers[0].path, manifest.path, TAGS, '/v2/']) {
      for (const round of ['cold', 'warm']) {
        const answer = await httpGet(`${node.url}${path}?ns=${origin.host}`);
        assert.equal(answer.header('oci-namespace'), origin.host, `${round} ${path}`);
        assert.equal((await httpGet(node.url + path)).header('oci-namespace'), undefined, path);
      }
    }
    for (const { url } of origin.requests) assert.doesNotMatch(url, /ns=/);
  });
});
