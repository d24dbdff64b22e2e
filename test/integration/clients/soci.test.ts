import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Soci } from './soci.ts';
import { type ClientLab, clientLab, REPOSITORY } from './support/lab.ts';

const MIB = 1 << 20;
const SPAN_BYTES = 4 * MIB;

const sociOf = ({ node, login }: ClientLab): Soci =>
  new Soci({ place: node, host: `${node.host}:${node.port}`, repository: REPOSITORY, login });

describe('SOCI', () => {
  for (const auth of ['anonymous', 'basic', 'token'] as const) {
    it(`${auth}: probe, size, spans at compressed offsets, each within its 3 s; cold and warm`, async (t) => {
      const lab = await clientLab(t, { auth });
      const [, layer] = lab.layers;
      for (const round of ['cold', 'warm']) {
        using client = sociOf(lab);
        assert.equal(await client.probe(layer.digest), layer.size);
        assert.equal(await client.size(layer.digest), layer.size);
        for (const start of [SPAN_BYTES + 123, 17, 2 * SPAN_BYTES + 5]) {
          const end = Math.min(start + SPAN_BYTES, layer.size);
          const bytes = await client.span(layer.digest, start, end);
          assert.ok(bytes.equals(layer.bytes(start, end)), `${round} ${start}`);
        }
      }
      await lab.origin.idle();
      assert.ok(lab.origin.bytesSent() <= layer.size + MIB, `${lab.origin.bytesSent()} bytes`);
    });
  }

  it('parallel pull: Accept-Ranges on the probe and on each chunk, and about one blob from the origin', async (t) => {
    const lab = await clientLab(t);
    const [, layer] = lab.layers;
    for (const round of ['cold', 'warm']) {
      using client = sociOf(lab);
      const bytes = await client.parallel(layer.digest, MIB + 1);
      assert.ok(bytes.equals(layer.bytes(0, layer.size)), round);
    }
    await lab.origin.idle();
    assert.ok(lab.origin.bytesSent() <= layer.size * 1.05, `${lab.origin.bytesSent()} bytes`);
  });

  it('8.20 an origin that is silent is answered for within the 3 s that SOCI waits for a head', async (t) => {
    const lab = await clientLab(t);
    lab.origin.fault({ action: { neverAnswer: true } });
    using client = sociOf(lab);
    await assert.rejects(client.probe(lab.layers[0].digest), { name: 'Error', status: 504 });
  });
});
