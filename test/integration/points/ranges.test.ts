import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseByteRanges } from '../../support/byteranges.ts';
import { type HttpAnswer, httpGet } from '../../support/http-get.ts';
import { type FaultAction, headerValues } from '../../support/origin.ts';
import { clientLab, type Layer, REPOSITORY } from '../clients/support/lab.ts';

const MIB = 1 << 20;
const OCTETS = 'application/octet-stream';

function assertPart(answer: HttpAnswer, layer: Layer, start: number, end: number, what: string): void {
  assert.equal(answer.status, 206, what);
  assert.equal(answer.header('content-range'), `bytes ${start}-${end - 1}/${layer.size}`, what);
  assert.equal(answer.header('content-length'), String(end - start), what);
  assert.equal(answer.header('content-type'), OCTETS, what);
  assert.equal(answer.header('accept-ranges'), 'bytes', what);
  assert.equal(answer.header('docker-content-digest'), layer.digest, what);
  assert.ok(answer.complete && answer.body.equals(layer.bytes(start, end)), `${what}: bytes`);
}

describe('ranges of blobs', () => {
  const odd: readonly (readonly [string, FaultAction])[] = [
    ['a plain origin', {}],
    [
      'an origin that says neither type nor digest',
      { headers: { 'Content-Type': undefined, 'Docker-Content-Digest': undefined } },
    ],
    ['an origin that answers ranges with 200', { ignoreRange: true }],
    ['an origin without a length', { framing: 'chunked' }],
  ];
  for (const [name, action] of odd) {
    it(`8.6 a single range is exactly 206, exactly that long and labelled: ${name}, cold and warm`, async (t) => {
      const { node, origin, layers } = await clientLab(t);
      const [, layer] = layers;
      origin.fault({ match: { endpoint: 'blob', method: 'GET' }, action });
      const spans = [
        [0, 1],
        [MIB - 1, MIB + 1],
        [3 * MIB + 7, 5 * MIB],
        [layer.size - 1, layer.size],
        [0, layer.size],
      ] as const;
      for (const round of ['cold', 'warm']) {
        for (const [start, end] of spans) {
          const headers = { Range: `bytes=${start}-${end - 1}` };
          assertPart(
            await httpGet(node.url + layer.path, { headers }),
            layer,
            start,
            end,
            `${round} ${start}`,
          );
        }
      }
    });
  }

  it('8.7 an end past that of the blob is clipped; a start there is 416 with the size, cold and warm', async (t) => {
    for (const isWarm of [false, true]) {
      const { node, layers } = await clientLab(t);
      const [layer] = layers;
      const { size } = layer;
      const get = (range: string) => httpGet(node.url + layer.path, { headers: { Range: range } });
      if (isWarm) assert.equal((await httpGet(node.url + layer.path)).status, 200);
      for (const range of [`bytes=${size}-`, `bytes=${size}-${size + 5}`, `bytes=${size + 10 * MIB}-`]) {
        const answer = await get(range);
        assert.equal(answer.status, 416, range);
        assert.equal(answer.header('content-range'), `bytes */${size}`, range);
      }
      for (const range of [`bytes=${size - 77}-${size + 50_000}`, `bytes=${size - 77}-`, 'bytes=-77'])
        assertPart(await get(range), layer, size - 77, size, range);
      assertPart(await get(`bytes=-${size + 1}`), layer, 0, size, 'a suffix longer than the blob');
    }
  });

  it('8.8 bytes=N- is streamed: a client that hangs up soon costs a bounded window, not the rest of the blob', async (t) => {
    const { node, origin } = await clientLab(t);
    const blob = origin.repository(REPOSITORY).addBlob({ size: 64 * MIB, seed: 'open' });
    const headers = { Range: `bytes=${2 * MIB}-` };
    const answer = await httpGet(node.url + blob.path, { headers, abortAfterBytes: 100_000 });
    assert.equal(answer.status, 206);
    await origin.idle();
    assert.ok(origin.bytesSent() <= 24 * MIB, `${origin.bytesSent()} bytes`);
  });

  it('8.9 several ranges are one part each, in the order in which they were asked for, cold and warm', async (t) => {
    const { node, layers } = await clientLab(t);
    const [, layer] = layers;
    const spans = [
      [7 * MIB, 7 * MIB + 9],
      [0, 2],
      [MIB - 1, MIB + 1],
      [MIB, MIB + 5],
      [layer.size - 3, layer.size],
    ] as const;
    const range = `bytes=${spans.map(([start, end]) => `${start}-${end - 1}`).join(', ')}`;
    for (const round of ['cold', 'warm']) {
      const answer = await httpGet(node.url + layer.path, { headers: { Range: range } });
      assert.equal(answer.status, 206, round);
      const type = answer.header('content-type');
      assert.doesNotMatch(/boundary=(.*)$/.exec(type ?? '')?.[1] ?? ':', /:/);
      assert.equal(answer.header('content-length'), String(answer.bytes));
      const parts = parseByteRanges(type, answer.body);
      assert.deepEqual(
        parts.map(({ span, size, contentType }) => [span.start, span.end, size, contentType]),
        spans.map(([start, end]) => [start, end, layer.size, OCTETS]),
      );
      for (const { span, bytes } of parts) assert.ok(bytes.equals(layer.bytes(span.start, span.end)));
    }
  });

  it('8.9 more parts than are taken is 400, and never the first of them alone', async (t) => {
    const { node, layers } = await clientLab(t);
    const [layer] = layers;
    const range = `bytes=${Array.from({ length: 65 }, (_, i) => `${i * 10}-${i * 10 + 1}`).join(',')}`;
    assert.equal((await httpGet(node.url + layer.path, { headers: { Range: range } })).status, 400);
  });

  it('8.10 without a range it is exactly 200 with its length, cold and warm', async (t) => {
    const { node, layers } = await clientLab(t);
    const [, layer] = layers;
    for (const round of ['cold', 'warm']) {
      const answer = await httpGet(node.url + layer.path);
      assert.equal(answer.status, 200, round);
      assert.equal(answer.header('content-length'), String(layer.size), round);
      assert.equal(answer.header('content-range'), undefined, round);
      assert.ok(answer.body.equals(layer.bytes(0, layer.size)), round);
    }
  });

  it('8.10 a client that hangs up at the first byte of the whole has not begun to fetch it', async (t) => {
    const { node, origin } = await clientLab(t);
    const blob = origin.repository(REPOSITORY).addBlob({ size: 96 * MIB, seed: 'whole' });
    assert.equal((await httpGet(node.url + blob.path, { abortAfterBytes: 1 })).status, 200);
    await origin.idle();
    assert.ok(origin.bytesSent() <= 24 * MIB, `${origin.bytesSent()} bytes`);
  });
});

describe('what has no ranges', () => {
  it('8.11 a Range on a manifest, on tags and on referrers is ignored: 200 and all of it', async (t) => {
    const { node, origin, manifest } = await clientLab(t);
    const paths = [
      manifest.path,
      `/v2/${REPOSITORY}/manifests/v1`,
      `/v2/${REPOSITORY}/tags/list`,
      `/v2/${REPOSITORY}/referrers/${manifest.digest}`,
    ];
    // Some registries answer 400 to it.
    origin.fault({ match: { where: ({ range }) => range !== undefined }, action: { status: 400 } });
    for (const range of ['bytes=0-', 'bytes=0-3', 'bytes=2-5']) {
      for (const path of paths) {
        const whole = await httpGet(origin.url + path);
        const answer = await httpGet(node.url + path, { headers: { Range: range } });
        assert.equal(answer.status, 200, `${path} ${range}`);
        assert.ok(answer.body.equals(whole.body), `${path} ${range}`);
      }
    }
  });

  it('8.12 HEAD of a blob and of a manifest says size, type and digest, is never a redirect, and warm needs no origin', async (t) => {
    for (const redirect of [undefined, { status: 307 } as const]) {
      const { node, origin, manifest, layers } = await clientLab(t, redirect ? { origin: { redirect } } : {});
      const wanted = [
        { path: layers[1].path, size: layers[1].size, type: OCTETS, digest: layers[1].digest },
        { path: manifest.path, size: manifest.size, type: manifest.mediaType, digest: manifest.digest },
      ];
      for (const round of ['cold', 'known', 'warm']) {
        for (const { path, size, type, digest } of wanted) {
          if (round === 'warm') assert.equal((await httpGet(node.url + path)).status, 200);
          origin.reset();
          const answer = await httpGet(node.url + path, { method: 'HEAD' });
          assert.equal(answer.status, 200, `${round} ${path}`);
          assert.equal(answer.header('content-length'), String(size));
          assert.equal(answer.header('docker-content-digest'), digest);
          assert.equal(answer.header('location'), undefined);
          assert.equal(answer.header('content-type'), type);
          if (round === 'warm') assert.deepEqual(origin.requests, []);
          assert.equal(origin.bytesSent(), 0, 'no body was read for it');
          assert.deepEqual(headerValues(answer.rawHeaders, 'transfer-encoding'), []);
        }
      }
    }
  });
});
