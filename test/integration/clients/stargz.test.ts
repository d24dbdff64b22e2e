import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CHUNK_BYTES, StargzLayer } from './stargz.ts';
import { type ClientLab, clientLab, type Layer, REPOSITORY } from './support/lab.ts';

function layerOf(
  { node, origin, login }: ClientLab,
  layer: Layer,
  how: 'header' | 'ns' | 'default',
): StargzLayer {
  return new StargzLayer(layer.digest, {
    place: node,
    host: `${node.host}:${node.port}`,
    repository: REPOSITORY,
    login,
    ...(how === 'header' ? { fields: { 'X-Dragonfly-Registry': origin.url } } : {}),
    ...(how === 'ns' ? { namespace: origin.host } : {}),
  });
}

async function readAll(layer: StargzLayer, blob: Layer): Promise<void> {
  const last = Math.floor((blob.size - 1) / CHUNK_BYTES);
  // One chunk, neighbours, scattered ones, and the last, whose end is past that of the blob.
  for (const chunks of [[3], [10, 11, 12], [0, 2, 3, 40, 90], [5, last], [last]]) {
    for (const [span, bytes] of await layer.fetch(chunks)) {
      assert.ok(bytes.equals(blob.bytes(span.start, Math.min(span.end, blob.size))), String(chunks));
    }
  }
}

describe('stargz-snapshotter', () => {
  for (const how of ['default', 'header', 'ns'] as const) {
    for (const auth of ['anonymous', 'token'] as const) {
      it(`origin by ${how}, ${auth}: probe, HEAD, several ranges in one request; cold and warm`, async (t) => {
        const lab = await clientLab(t, { auth });
        const [, blob] = lab.layers;
        for (const _ of ['cold', 'warm']) {
          using layer = layerOf(lab, blob, how);
          assert.equal(await layer.mount(), blob.size);
          await readAll(layer, blob);
          await layer.check();
        }
        await lab.origin.idle();
        assert.ok(lab.origin.bytesSent() <= blob.size + (1 << 20), `${lab.origin.bytesSent()} bytes`);
      });
    }
  }

  it('a redirecting registry: no 3xx reaches it, so its URL stays that of the mirror', async (t) => {
    const lab = await clientLab(t, { origin: { redirect: { status: 307 } } });
    const [, blob] = lab.layers;
    using layer = layerOf(lab, blob, 'default');
    assert.equal(await layer.mount(), blob.size);
    await readAll(layer, blob);
  });

  it('more ranges than a multipart answer takes: 400, and then one range over all of them', async (t) => {
    const lab = await clientLab(t);
    const [, blob] = lab.layers;
    using layer = layerOf(lab, blob, 'default');
    const scattered = Array.from({ length: 90 }, (_, i) => i * 2);
    const parts = await layer.fetch(scattered);
    assert.equal(parts.size, 1);
    for (const [span, bytes] of parts) assert.ok(bytes.equals(blob.bytes(span.start, span.end)));
  });
});
