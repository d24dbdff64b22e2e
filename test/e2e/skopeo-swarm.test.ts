import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { digestHex, digestOf } from '../../src/blob/digest.ts';
import { TestSwarm } from '../integration/support/swarm.ts';
import { lacking } from './support/capabilities.ts';
import { makeImage } from './support/images.ts';
import { pushImage } from './support/push.ts';
import { BASIC_AUTHORIZATION, REGISTRY_PASSWORD, REGISTRY_USER, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { skopeoCopy } from './support/skopeo.ts';

const REPOSITORY = 'lab/swarm';
const LOGIN = `${REGISTRY_USER}:${REGISTRY_PASSWORD}`;
const NODES = 3;

// A whole image, manifests and all, with a login, through each of several nodes.
describe('skopeo through a swarm', { skip: lacking('skopeo', 'docker-registry') }, () => {
  const scope = new Scope();
  after(() => scope.close());

  it('an image that one node has pulled costs the registry questions alone, and strangers get nothing', async () => {
    const image = await makeImage(scope, { bytes: 8 << 20, layers: 3 });
    const registry = await startRegistry(scope, 'htpasswd');
    await pushImage({ registry, repository: REPOSITORY, authorization: BASIC_AUTHORIZATION }, image, 'v1');
    const swarm = await TestSwarm.start(NODES, [
      `origins=${JSON.stringify([{ host: registry.host, insecure: true }])}`,
      `proxy.defaultOrigin=${registry.url}`,
    ]);
    scope.defer(() => swarm[Symbol.asyncDispose]());
    const before = (await registry.requests()).length;
    const copy = async (node: number, login: string | undefined): Promise<string | undefined> => {
      const target = join(await scope.folder('copy'), 'image');
      const { exitCode } = await skopeoCopy(scope, {
        registryHost: 'registry.lab.invalid:5000',
        mirrorHost: `${swarm.node(node).host}:${swarm.node(node).port}`,
        name: `${REPOSITORY}:v1`,
        login,
        target,
      });
      return exitCode === 0 ? target : undefined;
    };
    for (let node = 0; node < NODES; node += 1) {
      const target = await copy(node, LOGIN);
      assert.ok(target !== undefined, `node ${node}`);
      assert.equal(digestOf(await readFile(join(target, 'manifest.json'))), image.root.digest);
      for (const { digest } of image.manifests[0].layers)
        assert.equal(digestOf(await readFile(join(target, digestHex(digest)))), digest);
    }
    assert.equal(await registry.blobBytes(before), image.blobBytes);
    const manifests = (await registry.requests())
      .slice(before)
      .filter(
        ({ method, path, status }) => method === 'GET' && status === 200 && path.includes('/manifests/'),
      );
    assert.equal(new Set(manifests.map(({ path }) => path)).size, manifests.length, 'one GET for all nodes');
    for (const wrong of [undefined, `${REGISTRY_USER}:wrong`]) assert.equal(await copy(1, wrong), undefined);
  });
});
