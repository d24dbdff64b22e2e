import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { OciImage } from '../support/oci.ts';
import { lacking } from './support/capabilities.ts';
import { Damselfly } from './support/damselfly.ts';
import { makeImage } from './support/images.ts';
import { Podman } from './support/podman.ts';
import { pushImage } from './support/push.ts';
import { BASIC_AUTHORIZATION, REGISTRY_PASSWORD, REGISTRY_USER, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { startTokenServer, type TokenServer } from './support/token-server.ts';

const REPOSITORY = 'lab/img';
const LOGIN = `${REGISTRY_USER}:${REGISTRY_PASSWORD}`;

// It tries TLS first, takes its challenge from GET /v2/ alone, and wants exactly 200.
describe('podman through Damselfly', { skip: lacking('podman', 'docker-registry', 'root') }, () => {
  const scope = new Scope();
  let image: OciImage;
  let tokens: TokenServer;

  before(async () => {
    image = await makeImage(scope, { bytes: 8 << 20, layers: 3 });
    tokens = await startTokenServer(scope, {
      users: [
        { name: 'anonymous', password: undefined, grants: {} },
        { name: REGISTRY_USER, password: REGISTRY_PASSWORD, grants: { [REPOSITORY]: ['pull'] } },
        { name: 'writer', password: 'writes', grants: { '*': ['pull', 'push'] } },
      ],
    });
  });
  after(() => scope.close());

  for (const auth of ['anonymous', 'htpasswd', 'token'] as const) {
    it(`${auth}: pulls through a mirror of registries.conf, once from the registry; who may not, does not`, async () => {
      const registry = await startRegistry(scope, auth === 'token' ? tokens : auth);
      const push = {
        anonymous: {},
        htpasswd: { authorization: BASIC_AUTHORIZATION },
        token: {
          authorization: `Bearer ${tokens.tokenFor('writer', [`repository:${REPOSITORY}:pull,push`])}`,
        },
      }[auth];
      await pushImage({ registry, repository: REPOSITORY, ...push }, image, 'v1');
      const node = await Damselfly.start(scope, { origins: [registry.host], defaultOrigin: registry.host });
      const login = auth === 'anonymous' ? undefined : LOGIN;
      // A name that nobody resolves: what does not come through the node does not come.
      const registries = [{ registryHost: 'registry.lab.invalid:5000', mirrorHost: node.host }];
      const reference = `registry.lab.invalid:5000/${REPOSITORY}:v1`;
      const before = (await registry.requests()).length;
      for (const round of ['cold', 'warm']) {
        const podman = await Podman.create(scope, registries, login);
        const { exitCode, stderr } = await podman.pull(reference);
        assert.equal(exitCode, 0, `${round}: ${stderr}`);
        assert.equal(await podman.digest(reference), image.root.digest);
      }
      assert.equal(await registry.blobBytes(before), image.blobBytes);
      const kind = { client: 'containers' };
      assert.ok((await node.metric('damselfly_requests_total', { ...kind, result: 'ok' })) > 0);
      assert.equal(await node.metric('damselfly_requests_total', { ...kind, result: 'failed' }), 0);
      if (login === undefined) return;
      const stranger = await Podman.create(scope, registries);
      assert.notEqual((await stranger.pull(reference)).exitCode, 0);
    });
  }

  it('a dead node: the image comes from the registry itself', async () => {
    const registry = await startRegistry(scope);
    await pushImage({ registry, repository: REPOSITORY }, image, 'v1');
    const node = await Damselfly.start(scope, { origins: [registry.host], defaultOrigin: registry.host });
    await node.kill();
    const podman = await Podman.create(scope, [{ registryHost: registry.host, mirrorHost: node.host }]);
    const reference = `${registry.host}/${REPOSITORY}:v1`;
    const { exitCode, stderr } = await podman.pull(reference);
    assert.equal(exitCode, 0, stderr);
    assert.equal(await podman.digest(reference), image.root.digest);
  });
});
