import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { seededBytes, selfSigned, startOrigin } from '../../support/origin.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { startNode } from '../support/node.ts';
import { NYDUSD_WAYS, Nydusd, type NydusdWay } from './nydusd.ts';
import { type ClientLab, clientLab, type Layer, REPOSITORY } from './support/lab.ts';

const MIB = 1 << 20;

function nydusdOf({ node, origin, login }: ClientLab, way: NydusdWay): Nydusd {
  return new Nydusd({
    ...way,
    place: node,
    host: `${node.host}:${node.port}`,
    registryUrl: origin.url,
    repository: REPOSITORY,
    login,
  });
}

/** The chunk table near the end first, then runs of just under 1 MiB that are aligned to nothing, some again and wider. */
function mountSpans({ size }: Layer): (readonly [number, number])[] {
  const spans: (readonly [number, number])[] = [[size - 481_777, size - 321]];
  for (let at = 0; at + 1_018_080 < size - 481_777; at += 1_018_080) spans.push([at, at + 1_018_080]);
  spans.push([1_018_080, 1_018_080 + MIB], [5 * MIB + 13, 5 * MIB + 14]);
  return spans;
}

/** Reads with so many threads, each with one request at a time; the first of a mount goes alone. */
async function readTree(client: Nydusd, layer: Layer, threads: number): Promise<void> {
  const [first, ...rest] = mountSpans(layer);
  const queue = rest.values();
  const read = async ([start, end]: readonly [number, number]): Promise<void> => {
    const bytes = await client.read(layer.digest, start, end);
    assert.ok(bytes.equals(layer.bytes(start, end)), `${start}-${end}`);
  };
  if (first !== undefined) await read(first);
  const lane = async (): Promise<void> => {
    for (const span of queue) await read(span);
  };
  await Promise.all(Array.from({ length: threads }, lane));
}

describe('nydusd', () => {
  for (const [name, way] of Object.entries(NYDUSD_WAYS)) {
    for (const auth of ['anonymous', 'basic', 'token'] as const) {
      it(`${name}, ${auth}: lazy reads, cold and warm, are right and cost about what was read`, async (t) => {
        const lab = await clientLab(t, { auth });
        const [, layer] = lab.layers;
        const skipsMirror = way.authThrough === false;
        for (const round of ['cold', 'warm']) {
          // FUSE and fscache have four threads, virtio-fs one per queue.
          for (const threads of [1, 4]) {
            using client = nydusdOf(lab, way);
            await readTree(client, layer, threads);
            if (!skipsMirror) assert.equal(client.direct, 0, `${round}: past the proxy`);
            // On an open registry it has no token, ever, and so the mirror is of no use.
            else if (auth === 'anonymous') assert.equal(client.direct, mountSpans(layer).length);
            else assert.equal(client.direct, 1, 'only what has no token yet goes past it');
          }
        }
        if (skipsMirror) return;
        await lab.origin.idle();
        assert.ok(lab.origin.bytesSent() <= layer.size + MIB, `${lab.origin.bytesSent()} bytes`);
      });
    }
  }

  it('an expired token: the same again without it, a new one, and the bytes', async (t) => {
    for (const name of ['2.3.4 mirrors', '2.4.4 proxy']) {
      const way = NYDUSD_WAYS[name];
      assert.ok(way);
      const lab = await clientLab(t, { auth: 'token' });
      const [, layer] = lab.layers;
      using client = nydusdOf(lab, way);
      await client.read(layer.digest, 0, 1000);
      lab.origin.auth.expireTokens();
      const bytes = await client.read(layer.digest, 5 * MIB, 5 * MIB + 1000);
      assert.ok(bytes.equals(layer.bytes(5 * MIB, 5 * MIB + 1000)), name);
      assert.equal(client.direct, 0);
    }
  });

  it('a token endpoint elsewhere: a mirror passes on what the registry says to its path, and the realm itself is asked', async (t) => {
    const lab = await clientLab(t, { auth: 'token', origin: { separateTokenServer: true } });
    const [, layer] = lab.layers;
    using client = nydusdOf(lab, { form: 'mirrors', token: 'through' });
    assert.ok((await client.read(layer.digest, 7, 1007)).equals(layer.bytes(7, 1007)));
  });

  it('HEAD tells the size, also of a blob that the registry redirects', async (t) => {
    const lab = await clientLab(t, { origin: { redirect: { status: 307 } } });
    const [, layer] = lab.layers;
    using client = nydusdOf(lab, { form: 'proxy', token: 'direct' });
    assert.equal(await client.size(layer.digest), layer.size);
    assert.equal(client.direct, 0);
  });

  it('stream_prefetch: no Range at 0, an open one later, left before the tail, and lazy reads beside it', async (t) => {
    const lab = await clientLab(t);
    const [, layer] = lab.layers;
    using client = nydusdOf(lab, { form: 'proxy', token: 'direct', userAgent: 'nydusd/1.0.0' });
    const end = layer.size - 400_000;
    const [head, tail] = await Promise.all([
      client.stream(layer.digest, 0, end),
      client.stream(layer.digest, 6 * MIB + 5, end),
      readTree(client, layer, 4),
    ]);
    assert.ok(head.equals(layer.bytes(0, end)));
    assert.ok(tail.equals(layer.bytes(6 * MIB + 5, end)));
    await lab.origin.idle();
    assert.ok(lab.origin.bytesSent() <= layer.size * 1.2, `${lab.origin.bytesSent()} bytes`);
  });

  it('its pings are well: /v2 of a mirror, /, /ping and /healthy of a proxy', async (t) => {
    const lab = await clientLab(t, { auth: 'token' });
    for (const [form, paths] of [
      ['mirrors', ['/v2']],
      ['proxy', ['/', '/v2', '/ping', '/healthy', '/server/ping']],
    ] as const) {
      using client = nydusdOf(lab, { form, token: 'direct' });
      for (const path of paths) assert.equal(await client.ping(path), true, `${form} ${path}`);
    }
    assert.deepEqual(lab.origin.requests, []);
  });

  it('what the node cannot serve goes to the registry at once, never as 404 or 429', async (t) => {
    for (const form of ['mirrors', 'proxy'] as const) {
      const lab = await clientLab(t);
      const [, layer] = lab.layers;
      using client = nydusdOf(lab, { form, token: 'direct' });
      // The node's requests fail; those of the client itself, which alone say that they have no body, do not.
      lab.origin.fault({
        match: { where: ({ rawHeaders }) => !rawHeaders.includes('content-length') },
        action: { status: 500 },
      });
      assert.ok((await client.read(layer.digest, 0, 1000)).equals(layer.bytes(0, 1000)), form);
      assert.equal(client.direct, 1, form);
    }
  });

  it('8.3 use_http: an https registry is asked for with http URLs, and read by https at the same port', async (t) => {
    const folder = await tempFolder(t);
    const certificate = await selfSigned();
    await writeFile(folder.file('ca.crt'), certificate.cert);
    const origin = await startOrigin({ tls: certificate });
    t.after(() => origin.close());
    const blob = origin.repository(REPOSITORY).addBlob({ size: 3 * MIB, seed: 'secure' });
    const entry = { host: origin.host, ca: folder.file('ca.crt') };
    const node = await startNode(folder.file('cache'), [`origins=${JSON.stringify([entry])}`]);
    t.after(() => node.stop());
    const way = NYDUSD_WAYS['2.4.4 proxy'];
    assert.ok(way);
    using client = new Nydusd({
      ...way,
      place: node,
      host: 'unused',
      registryUrl: origin.url,
      repository: REPOSITORY,
    });
    for (const _ of ['cold', 'warm']) {
      const bytes = await client.read(blob.digest, MIB - 5, 2 * MIB);
      assert.ok(bytes.equals(seededBytes('secure', { start: MIB - 5, end: 2 * MIB })));
    }
    assert.equal(client.direct, 0);
  });
});
