import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OverlaybdLayer } from './overlaybd.ts';
import { type ClientLab, clientLab, REPOSITORY } from './support/lab.ts';

const MIB = 1 << 20;

function layerOf({ node, origin, login, layers }: ClientLab, prefix = '/dadip2p'): OverlaybdLayer {
  return new OverlaybdLayer({
    prefix,
    place: node,
    host: `${node.host}:${node.port}`,
    blobUrl: origin.url + layers[1].path,
    repository: REPOSITORY,
    login,
  });
}

describe('overlaybd', () => {
  for (const auth of ['anonymous', 'basic', 'token'] as const) {
    it(`${auth}: the size by bytes=0-0, then blocks, cold and warm, never more than was asked for`, async (t) => {
      const lab = await clientLab(t, { auth });
      const [, blob] = lab.layers;
      const blocks = [
        [0, 512],
        [4096, 8192],
        [3 * MIB - 100, 3 * MIB + 100],
        [blob.size - 1, blob.size],
      ] as const;
      for (const round of ['cold', 'warm']) {
        using layer = layerOf(lab);
        await layer.findUrl();
        lab.origin.reset();
        assert.equal(await layer.size(), blob.size);
        for (const [start, end] of blocks) {
          assert.ok((await layer.read(start, end)).equals(blob.bytes(start, end)), `${round} ${start}`);
        }
        if (round === 'warm') assert.equal(lab.origin.bytesSent(), 0);
      }
    });
  }

  it('any prefix will do, and none', async (t) => {
    const lab = await clientLab(t);
    for (const prefix of ['', '/dadip2p', '/a/b.c']) {
      using layer = layerOf(lab, prefix);
      await layer.findUrl();
      assert.equal(await layer.size(), lab.layers[1].size, prefix);
    }
  });

  it('a registry that redirects: the signed URL goes into the path, byte for byte with its query', async (t) => {
    const lab = await clientLab(t, { auth: 'token', origin: { redirect: { status: 307 } } });
    const [, blob] = lab.layers;
    using layer = layerOf(lab);
    await layer.findUrl();
    lab.origin.reset();
    assert.equal(await layer.size(), blob.size);
    assert.ok((await layer.read(MIB, MIB + 4096)).equals(blob.bytes(MIB, MIB + 4096)));
    const asked = lab.origin.find({ endpoint: 'cdn' });
    assert.ok(asked.length > 0, 'the signed URL was asked');
    for (const { url, authorization } of asked) {
      assert.match(url, /^\/cdn\/.*\?X-Expires=\d+&X-Nonce=[0-9a-f]+&X-Signature=[0-9a-f]+$/);
      assert.equal(authorization, 'none');
    }
  });
});
