import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseReference } from '../../src/admin/reference.ts';
import { DamselflyError } from '../../src/errors.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const SHA512 = `sha512:${'b'.repeat(128)}`;

/** Text, registry, repository, tag or digest. */
const IMAGES: readonly (readonly [string, string, string, string])[] = [
  ['alpine', 'docker.io', 'library/alpine', 'latest'],
  ['alpine:3.20', 'docker.io', 'library/alpine', '3.20'],
  ['team/app:1', 'docker.io', 'team/app', '1'],
  ['docker.io/alpine', 'docker.io', 'library/alpine', 'latest'],
  ['Docker.io/team/app', 'docker.io', 'team/app', 'latest'],
  ['index.docker.io/alpine', 'index.docker.io', 'library/alpine', 'latest'],
  ['registry.example.com/app', 'registry.example.com', 'app', 'latest'],
  ['registry.example.com:5000/a/b/c:V1_x.y-z', 'registry.example.com:5000', 'a/b/c', 'V1_x.y-z'],
  ['localhost/app', 'localhost', 'app', 'latest'],
  ['localhost:5000/app:v1', 'localhost:5000', 'app', 'v1'],
  ['[::1]:5000/app:v1', '[::1]:5000', 'app', 'v1'],
  ['127.0.0.1:5000/lab/img', '127.0.0.1:5000', 'lab/img', 'latest'],
  [`alpine@${DIGEST}`, 'docker.io', 'library/alpine', DIGEST],
  [`host.example/a/b:tag@${DIGEST}`, 'host.example', 'a/b', DIGEST],
  [`host.example/a@${SHA512}`, 'host.example', 'a', SHA512],
  ['oci://host.example/a/b:v1', 'host.example', 'a/b', 'v1'],
  ['oci://alpine', 'docker.io', 'library/alpine', 'latest'],
  ['http://127.0.0.1:5000/v2/lab/img/manifests/v1', 'http://127.0.0.1:5000', 'lab/img', 'v1'],
  [`https://host.example/v2/a/manifests/${DIGEST}`, 'https://host.example', 'a', DIGEST],
  ['host.example/a__b/c-d/e.f', 'host.example', 'a__b/c-d/e.f', 'latest'],
];

for (const [text, registry, repository, reference] of IMAGES) {
  test(`${text.slice(0, 60)} is an image`, () => {
    assert.deepEqual(parseReference(text), { kind: 'image', registry, repository, reference });
  });
}

test('the URL of a blob is a blob', () => {
  assert.deepEqual(parseReference(`https://host.example:8443/v2/a/b/blobs/${DIGEST}`), {
    kind: 'blob',
    registry: 'https://host.example:8443',
    repository: 'a/b',
    digest: DIGEST,
  });
});

for (const text of [
  '',
  ' ',
  '/',
  ':tag',
  '@',
  'UPPER/case',
  'a//b',
  'host.example/',
  'host.example//a',
  'host.example/../a',
  'host.example/a:',
  'host.example/a:-x',
  `host.example/a:${'t'.repeat(129)}`,
  `host.example/${'a'.repeat(256)}`,
  'host.example/a@sha256:abc',
  `host.example/a@${DIGEST}@${DIGEST}`,
  `host.example/a:-bad@${DIGEST}`,
  `host.example/a@md5:${'0'.repeat(32)}`,
  'ftp://host.example/a',
  'https://host.example/a:v1',
  'https://host.example/v2/a/blobs/v1',
  'https://host.example/v2/A/manifests/v1',
  'https://host.example/v2/a/tags/list',
  `https://user:secret@host.example/v2/a/blobs/${DIGEST}`,
  `https://host.example/v2/a/blobs/${DIGEST}?sig=secret`,
  'user:secret@host.example/a:v1',
  'ho st.example/a',
]) {
  test(`${JSON.stringify(text.slice(0, 60))} is refused, without a secret of it`, () => {
    assert.throws(
      () => parseReference(text),
      (error) => {
        assert.ok(error instanceof DamselflyError);
        assert.equal(error.code, 'reference-malformed');
        assert.doesNotMatch(error.message, /secret/);
        assert.ok(error.message.length < 400);
        return true;
      },
    );
  });
}

test('whatever is accepted is safe in a path: no dots alone, no empty part, no control character', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab.:/@-_A%?#\n '), maxLength: 24 }), (text) => {
      try {
        const found = parseReference(text);
        assert.match(found.repository, /^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/);
        if (found.kind === 'image') assert.match(found.reference, /^\w[\w.:-]*$/);
      } catch (error) {
        assert.ok(error instanceof DamselflyError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
