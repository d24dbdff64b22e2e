import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startOrigin } from '../../support/origin.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { startNode } from '../support/node.ts';
import { Containerd } from './containerd.ts';
import { Docker } from './docker.ts';
import { clientLab, LOGIN, REPOSITORY } from './support/lab.ts';

const MIB = 1 << 20;
const LIBRARY = 'library/alpine';

describe('Docker, classic image store', () => {
  for (const auth of ['anonymous', 'basic', 'token'] as const) {
    it(`${auth}: the challenge of GET /v2/, then a pull, cold and warm`, async (t) => {
      const { node, origin, login, imageBytes } = await clientLab(t, { auth });
      const options = { place: node, host: `${node.host}:${node.port}`, login };
      for (const _ of ['cold', 'warm']) {
        using client = new Docker(options);
        assert.equal((await client.pull(REPOSITORY, 'v1')).size, 3);
      }
      assert.equal(origin.bytesSent(), imageBytes);
      using stranger = new Docker({ ...options, login: { user: 'bob', password: 'x' } });
      if (auth !== 'anonymous') await assert.rejects(stranger.pull(REPOSITORY, 'v1'));
    });
  }

  it('public images of a registry with tokens: a blanket 200 on /v2/ would leave it without one', async (t) => {
    const { node, origin } = await clientLab(t, { auth: 'token' });
    const open = origin.repository('lab/open');
    const blob = open.addBlob({ size: 1000, seed: 'open' });
    open.addManifest({ schemaVersion: 2, config: { digest: blob.digest }, layers: [] }, { tag: 'v1' });
    using client = new Docker({ place: node, host: 'mirror' });
    assert.equal((await client.pull('lab/open', 'v1')).size, 1);
  });

  it('resumes at a byte, to the end of the blob, cold and warm', async (t) => {
    const { node, layers } = await clientLab(t);
    const [layer] = layers;
    using client = new Docker({ place: node, host: 'mirror' });
    for (const from of [2 * MIB + 3, 1, 2 * MIB + 3, layer.size - 1]) {
      const rest = await client.resume(REPOSITORY, layer, from);
      assert.ok(rest.equals(layer.bytes(from, layer.size)), String(from));
    }
  });
});

// A mirror of docker.io becomes a containerd host with the path /v2, asked with ns=docker.io; there is no ping.
describe('Docker, containerd image store', () => {
  for (const auth of ['anonymous', 'token'] as const) {
    it(`${auth}: ns=docker.io means registry-1.docker.io, cold and warm`, async (t) => {
      const folder = await tempFolder(t);
      const hub = await startOrigin({ auth, users: { [LOGIN.user]: LOGIN.password } });
      t.after(() => hub.close());
      const repository = hub.repository(LIBRARY);
      const blob = repository.addBlob({ size: MIB, seed: 'alpine' });
      const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
      const layer = { mediaType, digest: blob.digest, size: blob.size };
      repository.addManifest({ schemaVersion: 2, config: layer, layers: [layer] }, { tag: 'latest' });
      const origins = [{ host: 'registry-1.docker.io', url: hub.url }];
      const node = await startNode(folder.file('cache'), [`origins=${JSON.stringify(origins)}`]);
      t.after(() => node.stop());
      for (const _ of ['cold', 'warm']) {
        using client = new Containerd({
          place: node,
          host: `${node.host}:${node.port}`,
          namespace: 'docker.io',
          userAgent: 'docker/29.7.0 containerd/2.3.4',
        });
        assert.equal((await client.pull(LIBRARY, 'latest')).blobs.size, 1);
      }
      assert.equal(hub.bytesSent(), blob.size);
    });
  }
});
