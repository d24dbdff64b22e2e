import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NydusV3 } from './nydus-v3.ts';
import { clientLab, REPOSITORY } from './support/lab.ts';

const MIB = 1 << 20;
const GROUP_BYTES = 4 * MIB;

describe('nydus v3', () => {
  for (const auth of ['anonymous', 'basic', 'token'] as const) {
    it(`${auth}: HEAD, the footer at the end, then groups of 4 MiB; cold and warm`, async (t) => {
      const { node, origin, layers, login } = await clientLab(t, { auth });
      const [, layer] = layers;
      for (const round of ['cold', 'warm']) {
        using client = new NydusV3({ place: node, registryUrl: origin.url, repository: REPOSITORY, login });
        assert.equal(await client.size(layer.digest), layer.size);
        const spans = [[layer.size - 4096, layer.size]];
        for (let at = 0; at < layer.size; at += GROUP_BYTES)
          spans.push([at, Math.min(at + GROUP_BYTES, layer.size)]);
        for (const [start = 0, end = 0] of spans) {
          const bytes = await client.group(layer.digest, start, end, start === 0 ? 6 : 3);
          assert.ok(bytes.equals(layer.bytes(start, end)), `${round} ${start}`);
        }
      }
      await origin.idle();
      assert.ok(origin.bytesSent() <= layer.size + MIB, `${origin.bytesSent()} bytes`);
    });
  }
});
