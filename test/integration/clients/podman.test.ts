import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { headerValues } from '../../support/origin.ts';
import { MANIFEST_ACCEPTS, Podman } from './podman.ts';
import { type ClientLab, clientLab, REPOSITORY } from './support/lab.ts';

const MIB = 1 << 20;

const podmanOf = ({ node, login }: ClientLab): Podman =>
  new Podman({ place: node, host: `${node.host}:${node.port}`, login });

describe('podman and CRI-O', () => {
  for (const auth of ['anonymous', 'basic', 'token'] as const) {
    it(`${auth}: TLS first, GET /v2/, manifest, blobs one after the other; cold and warm`, async (t) => {
      const lab = await clientLab(t, { auth });
      const { origin } = lab;
      for (const _ of ['cold', 'warm']) {
        using client = podmanOf(lab);
        const ms = await client.tryTls();
        assert.ok(ms < 1_000, `the TLS attempt took ${ms} ms`);
        assert.equal((await client.pull(REPOSITORY, 'v1')).size, 3);
      }
      assert.equal(origin.bytesSent(), lab.imageBytes);
      for (const { rawHeaders } of origin.find({ endpoint: 'manifest' })) {
        assert.deepEqual(headerValues(rawHeaders, 'accept'), MANIFEST_ACCEPTS);
      }
    });
  }

  it('a body that broke off: 206 from there to the last byte, cold and warm', async (t) => {
    const lab = await clientLab(t);
    const [, layer] = lab.layers;
    using client = podmanOf(lab);
    for (const from of [4 * MIB + 5, 4 * MIB + 5, layer.size - 1, 1]) {
      const rest = await client.resume(REPOSITORY, layer, from);
      assert.ok(rest.equals(layer.bytes(from, layer.size)), String(from));
    }
  });

  it('zstd:chunked: as many parts as it asked for, in order, the last one to the end; too many are halved', async (t) => {
    const lab = await clientLab(t);
    const [, layer] = lab.layers;
    using client = podmanOf(lab);
    // The footer, which is at the end of the blob, comes first.
    const [footer] = await client.chunks(REPOSITORY, layer.digest, [
      { start: layer.size - 64, end: layer.size },
    ]);
    assert.ok(footer?.equals(layer.bytes(layer.size - 64, layer.size)));
    for (const count of [2, 60, 64, 200]) {
      const wanted = Array.from({ length: count }, (_, i) => ({
        start: i * 40_000,
        end: i * 40_000 + 9_999,
      }));
      const last = { start: layer.size - 5_000, end: undefined };
      const parts = await client.chunks(REPOSITORY, layer.digest, [...wanted.slice(1), last]);
      assert.equal(parts.length, count);
      [...wanted.slice(1), last].forEach(({ start, end }, i) => {
        assert.ok(parts[i]?.equals(layer.bytes(start, end ?? layer.size)), `part ${i} of ${count}`);
      });
    }
  });

  it('a mirror whose origin is down is left at the manifest, by a 5xx', async (t) => {
    const lab = await clientLab(t);
    await lab.origin.down();
    using client = podmanOf(lab);
    await assert.rejects(client.pull(REPOSITORY, 'v1'), (error: { status?: number }) => {
      return (error.status ?? 0) >= 500;
    });
  });
});
