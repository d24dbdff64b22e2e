import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../../src/blob/digest.ts';
import { headerValues, OCI_MANIFEST, type RequestRecord, seededBytes } from '../../support/origin.ts';
import { Pusher, type UploadStyle } from './pusher.ts';
import { basic } from './support/challenge.ts';
import { type ClientLab, clientLab, LOGIN } from './support/lab.ts';

const MIB = 1 << 20;
const TARGET = 'lab/pushed';

const CLIENTS: readonly (readonly [client: string, userAgent: string, style: UploadStyle])[] = [
  ['nydusify', 'containerd/1.7.28', 'monolithic'],
  ['acceld', 'acceld/1.0', 'monolithic'],
  ['crane', 'go-containerregistry/v0.22.1', 'streamed'],
  ['Docker', 'docker/29.7.0', 'streamed'],
  ['one with chunks', 'chunky/1.0', 'chunked'],
];

function pusherOf(
  { node, origin }: ClientLab,
  form: 'mirror' | 'absolute',
  userAgent: string,
  authorization?: string,
): Pusher {
  return new Pusher({
    place: node,
    host: form === 'mirror' ? `${node.host}:${node.port}` : origin.host,
    base: form === 'mirror' ? '' : origin.url,
    repository: TARGET,
    userAgent,
    authorization,
  });
}

/** What a registry is asked, as if nothing stood before it. */
const shapes = (requests: readonly RequestRecord[]): string[] =>
  requests.map(
    ({ method, endpoint, url }) => `${method} ${endpoint}${/[?&](digest|mount)=/.exec(url)?.[1] ?? ''}`,
  );

describe('pushes', () => {
  for (const form of ['mirror', 'absolute'] as const) {
    for (const [client, userAgent, style] of CLIENTS) {
      it(`${client}, ${form} form: HEAD, upload, manifest, untouched, and then there`, async (t) => {
        const lab = await clientLab(t);
        const { origin } = lab;
        using pusher = pusherOf(lab, form, userAgent);
        const bytes = seededBytes('pushed', { start: 0, end: 2 * MIB + 99 });
        assert.equal(await pusher.blob(bytes, style), true);
        const patches = { monolithic: 0, streamed: 1, chunked: 2 }[style];
        assert.deepEqual(shapes(origin.requests), [
          'HEAD blob',
          'POST upload',
          ...Array.from({ length: patches }, () => 'PATCH upload'),
          'PUT uploaddigest',
        ]);
        for (const { rawHeaders, endpoint } of origin.requests) {
          // HEAD of a blob is the node's own question.
          if (endpoint === 'upload') assert.deepEqual(headerValues(rawHeaders, 'user-agent'), [userAgent]);
          assert.deepEqual(headerValues(rawHeaders, 'host'), [origin.host]);
        }
        const there = origin.repository(TARGET).blobs.get(digestOf(bytes));
        assert.equal(there?.size, bytes.length);
        assert.equal(await pusher.blob(bytes, style), false, 'a HEAD says that it is there');
        const layer = {
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          digest: digestOf(bytes),
          size: bytes.length,
        };
        const manifest = Buffer.from(
          JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: layer, layers: [layer] }),
        );
        await pusher.manifest(manifest, OCI_MANIFEST, 'v1');
        assert.equal(origin.repository(TARGET).manifest('v1')?.digest, digestOf(manifest));
      });
    }
  }

  it('Location as a whole URL comes through untouched; a forward proxy goes on seeing the upload', async (t) => {
    const lab = await clientLab(t, { origin: { uploadLocation: 'absolute' } });
    using pusher = pusherOf(lab, 'absolute', 'containerd/1.7.28');
    for (const style of ['monolithic', 'streamed', 'chunked'] as const) {
      assert.equal(await pusher.blob(seededBytes(style, { start: 0, end: MIB }), style), true, style);
    }
    assert.equal(lab.origin.find({ method: 'PUT' }).length, 3);
  });

  it('a blob of another repository is mounted, without its bytes', async (t) => {
    const lab = await clientLab(t);
    const [layer] = lab.layers;
    for (const form of ['mirror', 'absolute'] as const) {
      using pusher = pusherOf(lab, form, 'containerd/1.7.28');
      await pusher.mount(layer.digest, 'lab/image');
    }
    assert.equal(lab.origin.repository(TARGET).blobs.get(layer.digest)?.size, layer.size);
  });

  it("Expect: 100-continue is answered, and the final answer is the registry's", async (t) => {
    const lab = await clientLab(t, { auth: 'basic' });
    lab.origin.repository(TARGET, { readers: [LOGIN.user] });
    const bytes = seededBytes('careful', { start: 0, end: MIB });
    using pusher = pusherOf(lab, 'mirror', 'curl/8.5.0', basic(LOGIN));
    assert.equal(await pusher.carefully(bytes), 201);
    using stranger = pusherOf(lab, 'mirror', 'curl/8.5.0');
    assert.equal(await stranger.carefully(bytes), 401);
  });

  it('what was pushed is pulled at once: nothing that is not there yet was remembered', async (t) => {
    const lab = await clientLab(t);
    const bytes = seededBytes('fresh', { start: 0, end: MIB + 5 });
    using pusher = pusherOf(lab, 'mirror', 'containerd/1.7.28');
    assert.equal(await pusher.blob(bytes, 'monolithic'), true);
    const answer = await fetch(`${lab.node.url}/v2/${TARGET}/blobs/${digestOf(bytes)}`);
    assert.equal(answer.status, 200);
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes));
  });
});
