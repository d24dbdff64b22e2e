import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import type { PrefetchEvent } from '../../src/admin/prefetch-events.ts';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { httpGet } from '../support/http-get.ts';
import { OCI_INDEX, seededBytes, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';

const LAYER_BYTES = 2_500_000;

/** A node that may read a private image of a registry with tokens, and that image. */
async function scene(t: TestContext, set: readonly string[] = []) {
  const origin = await startOrigin({ auth: 'token', users: { robot: 'x', alice: 'y' } });
  t.after(() => origin.close());
  const repository = origin.repository('team/app', { readers: ['robot', 'alice'] });
  const config = repository.addBlob(Buffer.from('{"os":"linux"}'));
  const layer = repository.addBlob({ size: LAYER_BYTES, seed: 'layer' });
  const other = repository.addBlob({ size: 50_000, seed: 'other platform' });
  const image = (layerBlob: typeof layer) =>
    repository.addManifest({
      schemaVersion: 2,
      config: { digest: config.digest, size: config.size },
      layers: [{ digest: layerBlob.digest, size: layerBlob.size }],
    });
  const manifest = image(layer);
  const platform = (architecture: string) => ({ os: 'linux', architecture });
  repository.addManifest(
    {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [
        { digest: image(other).digest, size: 1, platform: platform('s390x') },
        { digest: manifest.digest, size: manifest.size, platform: platform('amd64') },
      ],
    },
    { mediaType: OCI_INDEX, tag: 'v1' },
  );
  const folder = await tempFolder(t);
  const auth = Buffer.from('robot:x').toString('base64');
  const credentials = folder.file('docker.json');
  await writeFile(credentials, JSON.stringify({ auths: { [origin.host]: { auth } } }), { mode: 0o600 });
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify([{ host: origin.host, insecure: true, credentialsFile: credentials }])}`,
    ...set,
  ]);
  t.after(() => node.stop());
  const prefetch = async (reference: string): Promise<PrefetchEvent[]> => {
    const answer = await httpGet(`http://${node.addresses.admin[0]}/api/v1/prefetch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ reference, platform: 'linux/amd64' }),
    });
    assert.equal(answer.status, 200);
    const lines = answer.body.toString('utf8').split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as PrefetchEvent);
  };
  return { origin, node, layer, manifest, config, prefetch };
}

test('prefetch brings the image of a platform into the cache, as the node', async (t) => {
  const { origin, node, layer, config, prefetch } = await scene(t);
  const events = await prefetch(`${origin.host}/team/app:v1`);
  assert.equal(events[0]?.event, 'start');
  const total = layer.size + config.size;
  const last = events.at(-1);
  assert.deepEqual(last, {
    event: 'done',
    reference: `${origin.host}/team/app:v1`,
    blobs: 2,
    blobsDone: 2,
    bytesDone: total,
    bytesTotal: total,
  });
  await origin.idle();
  assert.equal(origin.bytesSent(), total, 'nothing of the other platform, and nothing twice');

  const headers = {
    'x-dragonfly-registry': origin.url,
    authorization: `Bearer ${origin.issueToken({ repository: 'team/app', user: 'alice' })}`,
  };
  const read = await httpGet(`${node.url}${layer.path}`, { headers });
  assert.equal(read.status, 200);
  assert.ok(read.body.equals(seededBytes('layer', { start: 0, end: LAYER_BYTES })));
  await origin.idle();
  assert.equal(origin.bytesSent(), total, 'the cache has it');
  const nobody = await httpGet(`${node.url}${layer.path}`, {
    headers: { 'x-dragonfly-registry': origin.url },
  });
  assert.equal(nobody.status, 401, 'the right of the node is nobody else’s');

  const status = (await httpGet(`http://${node.addresses.admin[0]}/api/v1/status`)).json() as StatusDocument;
  assert.equal(status.traffic.requestedBytes, layer.size);
  assert.ok(status.traffic.originBytes >= total);
  assert.deepEqual(status.prefetch, { running: 0, maxRunning: 4 });
  const metrics = await httpGet(`http://${node.addresses.metrics[0]}/metrics`);
  assert.match(metrics.body.toString('utf8'), /^damselfly_rights_checks_total\{outcome="granted"\} 1$/m);
});

test('a prefetch again reads nothing but manifests', async (t) => {
  const { origin, prefetch } = await scene(t);
  await prefetch(`${origin.host}/team/app:v1`);
  await origin.idle();
  origin.reset();
  const last = (await prefetch(`${origin.host}/team/app:v1`)).at(-1);
  assert.equal(last?.event, 'done');
  assert.equal(origin.bytesSent(), 0);
});

test('a blob URL is prefetched', async (t) => {
  const { origin, layer, prefetch } = await scene(t);
  const last = (await prefetch(`${origin.url}${layer.path}`)).at(-1);
  assert.deepEqual([last?.event, last?.bytesDone], ['done', LAYER_BYTES]);
});

test('what does not exist, and an origin that is down, are told', async (t) => {
  const { origin, prefetch } = await scene(t);
  const missing = (await prefetch(`${origin.host}/team/app:v2`)).at(-1);
  assert.equal(missing?.event === 'failed' && missing.code, 'origin-refused');
  await origin.down();
  const down = (await prefetch(`${origin.host}/team/app:v1`)).at(-1);
  assert.equal(down?.event === 'failed' && down.code, 'origin-unreachable');
});
