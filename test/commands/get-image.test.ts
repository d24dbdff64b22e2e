import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { OCI_INDEX, type TestBlob } from '../support/origin.ts';
import { getLab } from './get-lab.ts';

/** Image references in place of URLs. */
const lab = getLab();

test('oci references: one layer, a layer by digest, several layers, an index', async () => {
  const repository = lab.origin.repository('images/app');
  const layers = ['one', 'two'].map((text) => repository.addBlob(Buffer.from(text)));
  const config = repository.addBlob(Buffer.from('{}'));
  const image = (blobs: readonly TestBlob[]): object => ({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.size,
    },
    layers: blobs.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size,
    })),
  });
  const single = repository.addManifest(image(layers.slice(0, 1)), { tag: 'single' });
  repository.addManifest(image(layers), { tag: 'double' });
  const platform = { os: 'linux', architecture: { x64: 'amd64' }[process.arch as string] ?? process.arch };
  const other = repository.addManifest(image(layers.slice(1)));
  repository.addManifest(
    {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [
        {
          mediaType: other.mediaType,
          digest: other.digest,
          size: other.size,
          platform: { os: 'plan9', architecture: 'mips' },
        },
        { mediaType: single.mediaType, digest: single.digest, size: single.size, platform },
      ],
    },
    { tag: 'index' },
  );
  const at = `oci://${lab.origin.host}/images/app`;
  for (const reference of [':single', `@${single.digest}`, `@${layers[0]?.digest}`, ':index']) {
    const file = lab.output();
    const { code, stderr, json } = await lab.get(at + reference, file, ['--json']);
    assert.equal(code, 0, stderr);
    assert.equal(await readFile(file, 'utf8'), 'one', reference);
    assert.equal(json().verified, true);
  }
  // As docker's registry answers for a layer.
  lab.origin.fault({
    match: { path: `/v2/images/app/manifests/${layers[0]?.digest}` },
    action: { status: 500 },
  });
  const layer = await lab.get(`${at}@${layers[0]?.digest}`, lab.output());
  assert.equal(layer.code, 0, layer.stderr);
  const several = await lab.get(`${at}:double`, lab.output());
  assert.equal(several.code, 2);
  for (const layer of layers) assert.ok(several.stderr.includes(`${at}@${layer.digest}  3 B`));
  assert.equal((await lab.get(`${at}:absent`, lab.output())).code, 1);
});
