import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startOrigin } from '../../support/origin.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { startNode } from '../support/node.ts';
import { Containerd, type ContainerdHost } from './containerd.ts';
import { LOGIN } from './support/lab.ts';

// containerd's resolver with `mirrors = ["node/path"]` of buildkitd.toml: the path goes behind /v2 (clients.md 6.6).
describe('BuildKit', () => {
  for (const [form, basePath, prefix] of [
    ['a mirror', '/v2', ''],
    ['a mirror with a path', '/v2/hub-cache', 'hub-cache/'],
  ] as const) {
    for (const auth of ['anonymous', 'token'] as const) {
      it(`${form}, ${auth}: what stands behind /v2/ is the repository's name at the origin of ns`, async (t) => {
        const folder = await tempFolder(t);
        const origin = await startOrigin({ auth, users: { [LOGIN.user]: LOGIN.password } });
        t.after(() => origin.close());
        const repository = origin.repository(`${prefix}library/alpine`, { readers: 'everyone' });
        const { digest, size } = repository.addBlob({ size: 3 << 20, seed: 'alpine' });
        const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size };
        repository.addManifest({ schemaVersion: 2, config: layer, layers: [layer] }, { tag: '3' });
        const origins = [{ host: 'registry-1.docker.io', url: origin.url }];
        const node = await startNode(folder.file('cache'), [`origins=${JSON.stringify(origins)}`]);
        t.after(() => node.stop());
        const host: ContainerdHost = {
          place: node,
          host: `${node.host}:${node.port}`,
          namespace: 'docker.io',
          basePath,
          userAgent: 'buildkit/v0.25',
        };
        for (const _ of ['cold', 'warm']) {
          using client = new Containerd(host);
          const { blobs } = await client.pull('library/alpine', '3');
          assert.equal(blobs.size, 1);
          // HTTP/2 is off; requests one after the other use one connection again.
          assert.ok(client.connections.opened <= 3, `${client.connections.opened} connections`);
        }
        assert.equal(origin.bytesSent(), size);
      });
    }
  }
});
