import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type HttpAnswer, httpGet } from '../../support/http-get.ts';
import { OCI_MANIFEST, startOrigin, type TestManifest, type TestOrigin } from '../../support/origin.ts';
import type { TestNode } from '../support/node.ts';
import { listing } from '../support/setup.ts';
import { TestSwarm } from '../support/swarm.ts';

const basic = (text: string) => ({ Authorization: `Basic ${Buffer.from(text).toString('base64')}` });
const ALICE = basic('alice:x');
const BOB = basic('bob:x');
const NODES = 4;

describe('manifests in a swarm', () => {
  let origin: TestOrigin;
  let swarm: TestSwarm;
  before(async () => {
    origin = await startOrigin({ auth: 'basic', users: { alice: 'x', bob: 'x' } });
    swarm = await TestSwarm.start(NODES, listing(origin));
  });
  after(async () => {
    await swarm?.[Symbol.asyncDispose]();
    await origin?.close();
  });

  /** An image with one layer, which Alice alone may read. */
  function image(name: string, padding = 0): TestManifest & { readonly layer: string } {
    const repository = origin.repository(`lab/${name}`, { readers: ['alice'] });
    const layer = repository.addBlob({ size: 1000, seed: name });
    const manifest = repository.addManifest(
      {
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        annotations: { padding: ' '.repeat(padding) },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: 1000 }],
      },
      { tag: 'v1' },
    );
    origin.reset();
    return { ...manifest, layer: layer.path };
  }

  const get = (node: TestNode, path: string, headers: Record<string, string> = ALICE): Promise<HttpAnswer> =>
    httpGet(node.url + path, { headers: { Accept: OCI_MANIFEST, ...headers } });

  /** Requests for manifests that were answered with 200. */
  const asked = (method: string): number =>
    origin.requests.filter(
      (one) => one.endpoint === 'manifest' && one.method === method && one.status === 200,
    ).length;

  function assertIs(answer: HttpAnswer, manifest: TestManifest): void {
    assert.equal(answer.status, 200);
    assert.equal(answer.header('content-type'), manifest.mediaType);
    assert.equal(answer.header('docker-content-digest'), manifest.digest);
    assert.ok(answer.body.equals(manifest.bytes));
  }

  for (const by of ['tag', 'digest'] as const) {
    it(`by its ${by} one node gets it of the origin, and the others of it, with the origin's leave for each`, async () => {
      const made = image(`one-${by}`);
      const path = by === 'tag' ? `/v2/lab/one-${by}/manifests/v1` : made.path;
      const sources = [];
      for (const node of swarm.nodes) {
        const answer = await get(node, path);
        assertIs(answer, made);
        sources.push(answer.header('x-damselfly-source'));
      }
      assert.deepEqual(sources, ['origin', 'peer', 'peer', 'peer']);
      assert.equal(asked('GET'), 1);
      assert.equal(asked('HEAD'), NODES);
    });
  }

  it('all want it at once: the origin is read once', async () => {
    const made = image('crowd');
    const answers = await Promise.all(swarm.nodes.map((node) => get(node, '/v2/lab/crowd/manifests/v1')));
    for (const answer of answers) assertIs(answer, made);
    assert.equal(asked('GET'), 1);
  });

  it('what came from another node is kept, with its type, and its layers are known to belong to it', async () => {
    const made = image('kept');
    const path = '/v2/lab/kept/manifests/v1';
    await get(swarm.node(0), path);
    assertIs(await get(swarm.node(1), path), made);
    origin.reset();
    const again = await get(swarm.node(1), made.path);
    assertIs(again, made);
    assert.match(again.header('x-damselfly-source') ?? '', /^(memory|disk)$/);
    assert.deepEqual(origin.requests, [], 'rights and bytes are known');
    assert.equal((await get(swarm.node(1), made.layer)).status, 200);
    assert.deepEqual(
      origin.requests.map(({ method }) => method),
      ['GET'],
      'no question whether the layer may be read',
    );
  });

  it('whom the origin refuses gets its refusal, whoever has it', async () => {
    const made = image('secret');
    await get(swarm.node(0), made.path);
    const straight = await httpGet(origin.url + made.path, { headers: BOB });
    for (const path of [made.path, '/v2/lab/secret/manifests/v1']) {
      const answer = await get(swarm.node(1), path, BOB);
      assert.equal(answer.status, straight.status);
      assert.deepEqual(answer.body, straight.body);
    }
    assertIs(await get(swarm.node(1), made.path), made);
  });

  it('one that no piece holds is read by each node', async () => {
    const made = image('large', 1 << 20);
    for (const node of [swarm.node(0), swarm.node(1)]) assertIs(await get(node, made.path), made);
    assert.equal(asked('GET'), 2);
  });

  it('an origin that fails once costs nobody the answer', async () => {
    const made = image('broken');
    origin.fault({ match: { endpoint: 'manifest', method: 'GET', times: 1 }, action: { status: 503 } });
    assertIs(await get(swarm.node(2), '/v2/lab/broken/manifests/v1'), made);
  });
});

it('manifests of an origin that does not share stay on the node', async () => {
  await using origin = await startOrigin();
  await using swarm = await TestSwarm.start(2, [
    `origins=${JSON.stringify([{ host: origin.host, insecure: true, share: false }])}`,
    `proxy.defaultOrigin=${origin.url}`,
  ]);
  const { path, bytes } = origin
    .repository('lab/own')
    .addManifest({ schemaVersion: 2, mediaType: OCI_MANIFEST, layers: [] }, { tag: 'v1' });
  for (const node of swarm.nodes) assert.ok((await httpGet(node.url + path)).body.equals(bytes));
  const methods = origin.requests
    .filter(({ endpoint }) => endpoint === 'manifest')
    .map(({ method }) => method);
  assert.deepEqual(methods, ['GET', 'GET']);
});
