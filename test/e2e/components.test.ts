import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { digestHex } from '../../src/blob/digest.ts';
import { lacking } from './support/capabilities.ts';
import { hostsFolder, startContainerd } from './support/containerd.ts';
import { makeImage, realTree } from './support/images.ts';
import { buildRafs } from './support/nydus-image.ts';
import { mountNydus } from './support/nydusd.ts';
import { pushBlob, pushImage } from './support/push.ts';
import { BASIC_AUTHORIZATION, REGISTRY_PASSWORD, REGISTRY_USER, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { skopeoCopy } from './support/skopeo.ts';
import { startTokenServer } from './support/token-server.ts';
import { compareTrees } from './support/tree-compare.ts';

const MEBIBYTE = 1 << 20;

// The real components without Damselfly: when these fail, the harness is at fault, not the product.
describe('the harness itself', () => {
  const scope = new Scope();
  after(() => scope.close());

  it('containerd pulls an image of three layers by tag, and forgets it', {
    skip: lacking('containerd', 'ctr', 'docker-registry', 'root'),
  }, async () => {
    const registry = await startRegistry(scope);
    const image = await makeImage(scope, { bytes: 5 * MEBIBYTE, layers: 3 });
    await pushImage({ registry, repository: 'lab/img' }, image, 'v1');
    const containerd = await startContainerd(scope);
    const reference = `${registry.host}/lab/img:v1`;
    const from = (await registry.requests()).length;
    const folder = await hostsFolder(scope, registry.host, undefined);
    await containerd.pull({ reference, hostsFolder: folder });
    assert.equal(await containerd.digestOf(reference), image.root.digest);
    assert.equal(await registry.blobBytes(from), image.blobBytes);
    await containerd.forget();
    assert.deepEqual(await containerd.content(), []);
    await containerd.pull({ reference, hostsFolder: folder });
    assert.equal(await registry.blobBytes(from), 2 * image.blobBytes);
  });

  it('a registry with htpasswd and one with tokens refuse without a login and serve with one', {
    skip: lacking('containerd', 'ctr', 'docker-registry', 'root'),
  }, async () => {
    const tokens = await startTokenServer(scope, {
      users: [
        { name: 'anonymous', password: undefined, grants: {} },
        { name: REGISTRY_USER, password: REGISTRY_PASSWORD, grants: { 'lab/secret': ['pull'] } },
        { name: 'writer', password: 'writes', grants: { '*': ['pull', 'push'] } },
      ],
    });
    const containerd = await startContainerd(scope);
    for (const auth of ['htpasswd', tokens] as const) {
      const registry = await startRegistry(scope, auth);
      const authorization =
        auth === 'htpasswd'
          ? BASIC_AUTHORIZATION
          : `Bearer ${tokens.tokenFor('writer', ['repository:lab/secret:pull,push'])}`;
      const image = await makeImage(scope, { bytes: MEBIBYTE, layers: 1 });
      await pushImage({ registry, repository: 'lab/secret', authorization }, image, 'v1');
      const reference = `${registry.host}/lab/secret:v1`;
      const folder = await hostsFolder(scope, registry.host, undefined);
      const refused = await containerd.tryPull({ reference, hostsFolder: folder });
      assert.notEqual(refused.exitCode, 0);
      await containerd.pull({
        reference,
        hostsFolder: folder,
        user: `${REGISTRY_USER}:${REGISTRY_PASSWORD}`,
      });
      assert.equal(await containerd.digestOf(reference), image.root.digest);
    }
    assert.ok(tokens.requests() > 0);
  });

  it('skopeo copies an image', { skip: lacking('skopeo', 'docker-registry') }, async () => {
    const registry = await startRegistry(scope);
    const image = await makeImage(scope, { bytes: MEBIBYTE, layers: 2 });
    await pushImage({ registry, repository: 'lab/img' }, image, 'v1');
    const target = join(await scope.folder('copy'), 'image');
    const { exitCode, stderr } = await skopeoCopy(scope, {
      registryHost: registry.host,
      name: 'lab/img:v1',
      mirrorHost: undefined,
      target,
    });
    assert.equal(exitCode, 0, stderr);
    const names = await readdir(target);
    for (const { digest } of image.manifests[0].layers) assert.ok(names.includes(digestHex(digest)));
  });

  it('nydusd reads RAFS v5 and v6, and the comparison sees a difference', {
    skip: lacking('nydusd', 'nydus-image', 'docker-registry', 'fuse', 'root'),
  }, async () => {
    const registry = await startRegistry(scope);
    const folder = await scope.folder('rafs');
    const tree = await realTree(scope, 'undici');
    for (const version of [5, 6] as const) {
      const image = await buildRafs(tree, folder, version);
      await pushBlob(
        { registry, repository: 'lab/nydus' },
        { digest: image.blob.digest, content: { file: image.blob.file } },
      );
      const mount = await mountNydus(scope, {
        image,
        registryHost: registry.host,
        repository: 'lab/nydus',
        route: { kind: 'direct' },
        prefetch: false,
      });
      const same = await compareTrees(tree, mount.mountpoint);
      assert.deepEqual(same.differences, []);
      assert.ok(same.entries > 100);
      const other = await compareTrees(join(tree, 'real'), join(mount.mountpoint, 'odd'));
      assert.ok(other.differences.length > 0);
      await mount.unmount();
    }
  });
});
