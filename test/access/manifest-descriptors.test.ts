import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_MANIFEST_BYTES, manifestDescriptors } from '../../src/access/manifest-descriptors.ts';
import { digestNamed } from './support.ts';

const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

function descriptor(name: string, more: object = {}) {
  return { mediaType: OCI_LAYER, digest: digestNamed(name), size: 10, ...more };
}

function digestsIn(manifest: unknown): string[] {
  return manifestDescriptors(Buffer.from(JSON.stringify(manifest))).map((found) => found.digest);
}

test('an image: its config and its layers, with sizes and media types', () => {
  const found = manifestDescriptors(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: descriptor('config', { mediaType: 'application/vnd.oci.image.config.v1+json', size: 5 }),
        layers: [
          descriptor('blob', {
            mediaType: 'application/vnd.oci.image.layer.nydus.blob.v1',
            annotations: { 'containerd.io/snapshot/nydus-blob': 'true' },
          }),
          descriptor('bootstrap', { annotations: { 'containerd.io/snapshot/nydus-bootstrap': 'true' } }),
        ],
      }),
    ),
  );
  assert.deepEqual(
    found.map(({ digest, size, mediaType, role }) => [digest, size, mediaType, role]),
    [
      [digestNamed('config'), 5, 'application/vnd.oci.image.config.v1+json', 'config'],
      [digestNamed('blob'), 10, 'application/vnd.oci.image.layer.nydus.blob.v1', 'layer'],
      [digestNamed('bootstrap'), 10, OCI_LAYER, 'layer'],
    ],
  );
});

test('an index: its manifests, with their platforms', () => {
  const found = manifestDescriptors(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        manifests: [
          descriptor('arm', { platform: { os: 'linux', architecture: 'arm', variant: 'v7' } }),
          descriptor('nydus', {
            platform: { os: 'linux', architecture: 'amd64', 'os.features': ['nydus.remoteimage.v1', 7] },
          }),
          descriptor('odd', { platform: { os: 7 } }),
        ],
      }),
    ),
  );
  assert.deepEqual(
    found.map(({ role, platform }) => [role, platform]),
    [
      ['manifest', { os: 'linux', architecture: 'arm', variant: 'v7', features: [] }],
      [
        'manifest',
        { os: 'linux', architecture: 'amd64', variant: undefined, features: ['nydus.remoteimage.v1'] },
      ],
      ['manifest', undefined],
    ],
  );
});

test('what a registry takes without having it proves nothing', () => {
  const layers = [
    descriptor('real'),
    descriptor('foreign', { urls: ['https://elsewhere.example.com/x'] }),
    descriptor('odd urls', { urls: 'https://elsewhere.example.com/x' }),
    descriptor('foreign type', { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }),
    descriptor('nondistributable', {
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    }),
    descriptor('no urls', { urls: [] }),
    descriptor('null urls', { urls: null }),
  ];
  assert.deepEqual(
    digestsIn({
      config: descriptor('config'),
      layers,
      subject: descriptor('subject'),
      blobs: [descriptor('artifact blob')],
      fsLayers: [{ blobSum: digestNamed('schema 1') }],
      annotations: { x: digestNamed('annotation') },
    }),
    ['config', 'real', 'no urls', 'null urls'].map(digestNamed),
  );
});

test('a document that is index and image at once is neither (CVE-2021-41190)', () => {
  const manifests = [descriptor('a')];
  assert.deepEqual(digestsIn({ manifests, layers: [descriptor('b')] }), []);
  assert.deepEqual(digestsIn({ manifests, config: descriptor('c') }), []);
  assert.deepEqual(digestsIn({ manifests }), [digestNamed('a')]);
});

for (const key of ['Layers', 'LAYERS', 'layer\u017f', 'Manifests', 'Config']) {
  test(`a field ${JSON.stringify(key)} is one that a registry may have read instead of ours`, () => {
    assert.deepEqual(digestsIn({ layers: [descriptor('secret')], [key]: [descriptor('real')] }), []);
  });
}

for (const key of ['Digest', 'URLs', 'url\u017f', 'mediatype']) {
  test(`a descriptor with ${JSON.stringify(key)} does not count`, () => {
    const layers = [descriptor('secret', { [key]: 'x' }), descriptor('real')];
    assert.deepEqual(digestsIn({ layers }), [digestNamed('real')]);
  });
}

test('what cannot be understood is left out', () => {
  for (const bad of ['', 'null', '[]', '7', '"x"', '{', '{"layers":7}', '{"layers":{"0":{}}}']) {
    assert.deepEqual(manifestDescriptors(Buffer.from(bad)), []);
  }
  const layers = [
    null,
    7,
    'x',
    [],
    {},
    { digest: 7 },
    { digest: 'sha256:xyz' },
    { digest: `md5:${'0'.repeat(32)}` },
    { digest: digestNamed('ok'), size: -1, mediaType: 9 },
  ];
  assert.deepEqual(manifestDescriptors(Buffer.from(JSON.stringify({ layers }))), [
    { digest: digestNamed('ok'), size: undefined, mediaType: undefined, role: 'layer', platform: undefined },
  ]);
});

test('a digest that is named twice counts once', () => {
  assert.deepEqual(digestsIn({ config: descriptor('a'), layers: [descriptor('a'), descriptor('a')] }), [
    digestNamed('a'),
  ]);
});

test('is bounded in bytes and in descriptors', () => {
  const many = Array.from({ length: 5000 }, (_, i) => ({ digest: digestNamed(`layer ${i}`) }));
  assert.equal(digestsIn({ layers: many }).length, 2048);
  const padded = { layers: [descriptor('a')], annotations: { x: 'y'.repeat(MAX_MANIFEST_BYTES) } };
  assert.deepEqual(digestsIn(padded), []);
});

test('never throws, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      manifestDescriptors(bytes);
    }),
  );
  fc.assert(
    fc.property(fc.json(), (value) => {
      manifestDescriptors(Buffer.from(`{"layers":[${value}],"config":${value},"annotations":${value}}`));
    }),
  );
});
