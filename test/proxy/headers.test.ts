import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestHex, digestOf } from '../../src/blob/digest.ts';
import {
  blobHeaders,
  notModifiedHeaders,
  safeMediaType,
  unsatisfiableHeaders,
} from '../../src/proxy/headers.ts';

const digest = digestOf(Buffer.from('a blob'));

function asObject(lines: readonly string[]): Record<string, string> {
  const object: Record<string, string> = {};
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] ?? '';
    assert.ok(!(name in object), `${name} appears twice`);
    object[name] = lines[i + 1] ?? '';
  }
  return object;
}

describe('blobHeaders', () => {
  it('says for a whole blob of unknown type what clients need', () => {
    assert.deepEqual(asObject(blobHeaders({ digest, length: 42, mediaType: undefined })), {
      'Content-Length': '42',
      'Content-Type': 'application/octet-stream',
      'Docker-Content-Digest': digest,
      ETag: `"${digest}"`,
      'X-Dragonfly-Task-ID': digestHex(digest),
      'Accept-Ranges': 'bytes',
    });
  });

  it('says for a part where it lies, where it came from, and for whom', () => {
    const lines = asObject(
      blobHeaders({
        digest,
        length: 10,
        mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        part: { span: { start: 5, end: 15 }, size: 100 },
        source: 'disk',
        complete: true,
        namespace: 'docker.io',
      }),
    );
    assert.equal(lines['Content-Type'], 'application/vnd.oci.image.layer.v1.tar+gzip');
    assert.equal(lines['Content-Range'], 'bytes 5-14/100');
    assert.equal(lines['X-Damselfly-Source'], 'disk');
    assert.equal(lines['X-Dragonfly-Task-Download-Finished'], 'true');
    assert.equal(lines['OCI-Namespace'], 'docker.io');
  });

  it('offers no ranges of a manifest, and does not call an incomplete blob finished', () => {
    const lines = asObject(
      blobHeaders({ digest, length: 1, mediaType: 'a/b', acceptRanges: false, complete: false }),
    );
    assert.equal(lines['Accept-Ranges'], undefined);
    assert.equal(lines['X-Dragonfly-Task-Download-Finished'], undefined);
  });
});

describe('safeMediaType', () => {
  it('keeps media types with and without parameters', () => {
    for (const type of [
      'text/plain',
      'application/vnd.oci.image.index.v1+json',
      'a/b; charset=utf-8',
      'a/b;x="y z"',
    ])
      assert.equal(safeMediaType(type), type);
  });
  it('replaces what could not stand in a header line', () => {
    for (const type of [undefined, '', 'text', 'a/b\r\nX: y', 'a/b;\n', 'a b/c', 'a/é', '/', 'a/b;é'])
      assert.equal(safeMediaType(type), 'application/octet-stream');
  });
});

describe('the other heads', () => {
  it('416 tells the size', () =>
    assert.equal(asObject(unsatisfiableHeaders(digest, 7))['Content-Range'], 'bytes */7'));
  it('304 has the tag', () => assert.equal(asObject(notModifiedHeaders(digest)).ETag, `"${digest}"`));
});
