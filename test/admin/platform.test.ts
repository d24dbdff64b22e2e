import assert from 'node:assert/strict';
import { arch } from 'node:os';
import { test } from 'node:test';
import type { Descriptor } from '../../src/access/manifest-descriptors.ts';
import { chooseManifests, parsePlatform } from '../../src/admin/platform.ts';
import { digestOf } from '../../src/blob/digest.ts';
import { DamselflyError } from '../../src/errors.ts';

/** `os/architecture[/variant]`, with a `+nydus` behind it for the Nydus image; `-` is a manifest without a platform. */
function manifest(name: string): Descriptor {
  const [text = '', kind] = name.split('+');
  const [os = '', architecture = '', variant] = text.split('/');
  const features = kind === 'nydus' ? ['nydus.remoteimage.v1'] : [];
  return {
    digest: digestOf(Buffer.from(name)),
    size: 1,
    mediaType: undefined,
    role: 'manifest',
    platform: name === '-' ? undefined : { os, architecture, variant, features },
  };
}

function chosen(asked: string | undefined, names: readonly string[]): string[] {
  const index = names.map(manifest);
  const found = chooseManifests(index, parsePlatform(asked));
  return found.map((descriptor) => names[index.indexOf(descriptor)] ?? '?');
}

const INDEX = [
  'unknown/unknown',
  'linux/386',
  'linux/amd64',
  'linux/arm/v5',
  'linux/arm/v7',
  'linux/arm64/v8',
  'linux/ppc64le',
  'windows/amd64',
];

for (const [asked, expected] of [
  ['linux/amd64', ['linux/amd64']],
  ['Linux/x86_64', ['linux/amd64']],
  ['linux/amd64/v3', ['linux/amd64']],
  ['linux/arm64', ['linux/arm64/v8']],
  ['linux/arm64/v8', ['linux/arm64/v8']],
  ['linux/aarch64', ['linux/arm64/v8']],
  ['linux/arm', ['linux/arm/v7']],
  ['linux/arm/v6', ['linux/arm/v5']],
  ['linux/arm/7', ['linux/arm/v7']],
  ['windows/amd64', ['windows/amd64']],
  ['all', INDEX.slice(1)],
] as const) {
  test(`${asked} takes ${expected.length > 2 ? 'every image, no attestation' : expected.join(' and ')}`, () => {
    assert.deepEqual(chosen(asked, INDEX), expected);
  });
}

test('without a wish it is Linux on this machine', () => {
  const own = `linux/${arch() === 'x64' ? 'amd64' : arch()}`;
  assert.deepEqual(chosen(undefined, ['windows/amd64', own]), [own]);
});

test('the highest variant that runs there is taken', () => {
  const index = ['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v3', 'linux/amd64/v4'];
  assert.deepEqual(chosen('linux/amd64/v3', index), ['linux/amd64/v3']);
  assert.deepEqual(chosen('linux/amd64', index), ['linux/amd64']);
});

test('the first of several for one platform is taken', () => {
  const index = ['windows/amd64', 'windows/amd64'].map(manifest);
  assert.deepEqual(chooseManifests(index, parsePlatform('windows/amd64')), index.slice(0, 1));
});

test('the Nydus image is taken beside the ordinary one', () => {
  assert.deepEqual(
    chosen('linux/amd64', ['linux/amd64', 'linux/arm64', 'linux/amd64+nydus', 'linux/arm64+nydus']),
    ['linux/amd64', 'linux/amd64+nydus'],
  );
  assert.deepEqual(chosen('linux/amd64', ['linux/amd64+nydus']), ['linux/amd64+nydus']);
});

test('an index that does not tell platforms is taken whole', () => {
  assert.deepEqual(chosen('linux/amd64', ['-', 'windows/amd64']), ['-']);
});

test('nothing that fits: what there is, is named', () => {
  assert.throws(
    () => chosen('linux/s390x', ['linux/amd64', 'linux/arm/v7', 'unknown/unknown']),
    (error) => {
      assert.ok(error instanceof DamselflyError);
      assert.equal(error.code, 'reference-malformed');
      assert.match(error.message, /nothing for linux\/s390x; it has linux\/amd64, linux\/arm\/v7: choose/);
      return true;
    },
  );
  assert.throws(() => chosen('linux/arm/odd', ['linux/arm/v7']), /nothing for linux\/arm/);
});

for (const text of ['', 'linux', 'linux/', '/amd64', 'linux/amd64/v1/x', 'linux amd64', 'ALL THINGS']) {
  test(`${JSON.stringify(text)} is no platform`, () => {
    assert.throws(
      () => parsePlatform(text),
      (error) => error instanceof DamselflyError && error.code === 'reference-malformed',
    );
  });
}
