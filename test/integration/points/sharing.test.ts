import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { seededBytes } from '../../support/origin.ts';
import { basic } from '../clients/support/challenge.ts';
import { clientLab, LOGIN, REPOSITORY } from '../clients/support/lab.ts';

const MIB = 1 << 20;

describe('what requests share, and what they do not', () => {
  it('8.15 a blob is one blob under every name, form, query and credential: its bytes are read once', async (t) => {
    const { node, origin, layers } = await clientLab(t, {
      set: ['access.mode=requester'],
    });
    const [layer] = layers;
    const elsewhere = origin.repository('team/copy').addBlob({ size: layer.size, seed: 'layer one' });
    assert.equal(elsewhere.digest, layer.digest);
    const ways: readonly (readonly [string, string, Record<string, string>])[] = [
      [node.url, layer.path, {}],
      [node.url, origin.url + layer.path, {}],
      [node.url, `/x/${origin.url}${layer.path}`, {}],
      [node.url, `${layer.path}?ns=${origin.host}`, {}],
      [node.url, layer.path, { 'X-Dragonfly-Registry': origin.url, Host: 'any.example' }],
      [node.url, layer.path, { Authorization: basic(LOGIN) }],
      [node.url, elsewhere.path, {}],
    ];
    for (const [url, target, headers] of ways) {
      const answer = await httpGet(url, { target, headers });
      assert.ok(answer.complete && answer.body.equals(layer.bytes(0, layer.size)), target);
    }
    assert.equal(origin.bytesSent(), layer.size);
  });

  it('8.15 a completed blob has matched its digest: wrong bytes are cut off, not kept, and read anew', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const [layer] = layers;
    const lie = origin.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 3 * MIB } });
    const wrong = await httpGet(node.url + layer.path);
    assert.equal(wrong.complete, false);
    lie.remove();
    const right = await httpGet(node.url + layer.path);
    assert.ok(right.complete && right.body.equals(layer.bytes(0, layer.size)));
  });

  it('8.16 who may not read a blob does not get it from the cache, and who may is not asked about again', async (t) => {
    const { node, origin, layers } = await clientLab(t, { auth: 'basic' });
    const [layer] = layers;
    const alice = { Authorization: basic(LOGIN) };
    assert.equal((await httpGet(node.url + layer.path, { headers: alice })).status, 200);
    for (const headers of [{}, { Authorization: basic({ user: 'alice', password: 'wrong' }) }]) {
      for (const range of [{}, { Range: 'bytes=0-9' }]) {
        const refused = await httpGet(node.url + layer.path, {
          headers: { ...headers, ...range } as Record<string, string>,
        });
        assert.equal(refused.status, 401);
        assert.equal(refused.header('x-damselfly-source'), undefined);
      }
    }
    origin.reset();
    assert.equal((await httpGet(node.url + layer.path, { headers: alice })).status, 200);
    assert.deepEqual(origin.requests, []);
  });

  it('8.23 a client that hangs up does not take the fill from those who wait with it', async (t) => {
    const { node, origin } = await clientLab(t);
    const blob = origin.repository(REPOSITORY).addBlob({ size: 12 * MIB, seed: 'fill' });
    origin.bytesPerSecond = 24 * MIB;
    const first = httpGet(node.url + blob.path, { abortAfterBytes: MIB });
    const second = httpGet(node.url + blob.path);
    assert.equal((await first).complete, false);
    const answer = await second;
    assert.ok(answer.complete && answer.body.equals(seededBytes('fill', { start: 0, end: blob.size })));
    assert.equal(origin.bytesSent(), blob.size);
  });

  it('8.23 a client that leaves just before the tail leaves the whole blob here', async (t) => {
    const { node, origin } = await clientLab(t);
    const blob = origin.repository(REPOSITORY).addBlob({ size: 6 * MIB, seed: 'tail' });
    const left = await httpGet(node.url + blob.path, { abortAfterBytes: blob.size - 200_000 });
    assert.equal(left.complete, false);
    await origin.idle();
    assert.equal(origin.bytesSent(), blob.size);
    await eventually(async () => {
      const answer = await httpGet(node.url + blob.path, { headers: { Range: `bytes=${blob.size - 9}-` } });
      return answer.header('x-damselfly-source') !== 'origin';
    });
    assert.equal(origin.bytesSent(), blob.size);
  });

  it('8.24 identical and overlapping reads at once, aligned to nothing, are one read at the origin', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const [, layer] = layers;
    origin.bytesPerSecond = 16 * MIB;
    const spans = Array.from({ length: 24 }, (_, i) => {
      const start = (i % 12) * 700_001;
      return [start, Math.min(start + 1_500_003, layer.size)] as const;
    });
    const answers = await Promise.all(
      spans.map(([start, end]) =>
        httpGet(node.url + layer.path, { headers: { Range: `bytes=${start}-${end - 1}` } }),
      ),
    );
    answers.forEach((answer, i) => {
      const [start, end] = spans[i] ?? [0, 0];
      assert.ok(answer.complete && answer.body.equals(layer.bytes(start, end)), String(start));
    });
    await origin.idle();
    assert.ok(origin.bytesSent() <= layer.size * 1.05, `${origin.bytesSent()} of ${layer.size} bytes`);
  });
});
