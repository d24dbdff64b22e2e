import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { digestOf } from '../../src/blob/digest.ts';
import type { OciImage } from '../support/oci.ts';
import { lacking } from './support/capabilities.ts';
import { Damselfly } from './support/damselfly.ts';
import { makeImage } from './support/images.ts';
import { assertHolds, PullClient } from './support/pull-client.ts';
import { pushImage } from './support/push.ts';
import {
  BASIC_AUTHORIZATION,
  REGISTRY_PASSWORD,
  REGISTRY_USER,
  type Registry,
  startRegistry,
} from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { startTokenServer, type TokenServer } from './support/token-server.ts';

const REPOSITORY = 'lab/img';
const LOGIN = `${REGISTRY_USER}:${REGISTRY_PASSWORD}`;
/** Go's clients use no proxy for loopback, and these speak plain http to names that end so. */
const NAME = 'registry.lab.local:5000';
const TOKEN_NAME = 'auth.lab.local:5001';

for (const client of ['crane', 'oras'] as const) {
  describe(`${client} through Damselfly`, { skip: lacking(client, 'docker-registry') }, () => {
    const scope = new Scope();
    let image: OciImage;
    let tokens: TokenServer;

    before(async () => {
      image = await makeImage(scope, { bytes: 16 << 20, layers: 3 });
      tokens = await startTokenServer(scope, {
        users: [
          { name: 'anonymous', password: undefined, grants: {} },
          { name: REGISTRY_USER, password: REGISTRY_PASSWORD, grants: { [REPOSITORY]: ['pull'] } },
          { name: 'writer', password: 'writes', grants: { '*': ['pull', 'push'] } },
        ],
      });
    });
    after(() => scope.close());

    /** These clients follow no realm at a loopback address, unless it is the registry's own host by name. */
    const registryOf = async (
      auth: 'anonymous' | 'htpasswd' | 'token',
      isProxy = false,
    ): Promise<Registry> => {
      const realm = isProxy ? `http://${TOKEN_NAME}/token` : tokens.realm.replace('127.0.0.1', 'localhost');
      const registry = await startRegistry(scope, auth === 'token' ? { ...tokens, realm } : auth);
      const authorization = {
        anonymous: {},
        htpasswd: { authorization: BASIC_AUTHORIZATION },
        token: {
          authorization: `Bearer ${tokens.tokenFor('writer', [`repository:${REPOSITORY}:pull,push`])}`,
        },
      }[auth];
      await pushImage({ registry, repository: REPOSITORY, ...authorization }, image, 'v1');
      return registry;
    };

    for (const auth of ['anonymous', 'htpasswd', 'token'] as const) {
      for (const way of ['mirror form, by its address', 'absolute form, by HTTP_PROXY'] as const) {
        it(`${auth}, ${way}: pulls cold and warm, once from the registry; who may not, does not`, async () => {
          const isProxy = way.startsWith('absolute');
          const registry = await registryOf(auth, isProxy);
          const node = await Damselfly.start(scope, {
            origins: [registry.host],
            named: { [NAME]: registry.url, [TOKEN_NAME]: new URL(tokens.realm).origin },
            defaultOrigin: registry.host,
          });
          const host = isProxy ? NAME : node.host.replace('127.0.0.1', 'localhost');
          const proxy = isProxy ? node.url : undefined;
          const login = auth === 'anonymous' ? undefined : LOGIN;
          const reference = `${host}/${REPOSITORY}:v1`;
          const before = (await registry.requests()).length;
          for (const round of ['cold', 'warm']) {
            const { exitCode, stderr, layout } = await (
              await PullClient.create(scope, client, host, { login, proxy })
            ).pull(reference);
            assert.equal(exitCode, 0, `${round}: ${stderr}`);
            await assertHolds(layout, image);
          }
          assert.equal(await registry.blobBytes(before), image.blobBytes);
          assert.equal(await node.metric('damselfly_requests_total', { client, result: 'failed' }), 0);
          assert.ok((await node.metric('damselfly_requests_total', { client, result: 'ok' })) >= 8);
          if (login === undefined) return;
          for (const wrong of [undefined, `${REGISTRY_USER}:wrong`]) {
            const stranger = await PullClient.create(scope, client, host, { login: wrong, proxy });
            assert.notEqual((await stranger.pull(reference)).exitCode, 0);
          }
        });
      }
    }

    it('a manifest and a blob by themselves are what their digests say', async () => {
      const registry = await registryOf('anonymous');
      const node = await Damselfly.start(scope, { origins: [registry.host], defaultOrigin: registry.host });
      const tool = await PullClient.create(scope, client, node.host);
      const [{ layers }] = image.manifests;
      const plain = client === 'crane' ? '--insecure' : '--plain-http';
      const commands =
        client === 'crane'
          ? [['manifest', plain, `${node.host}/${REPOSITORY}:v1`]]
          : [['manifest', 'fetch', plain, `${node.host}/${REPOSITORY}:v1`]];
      for (const args of commands) {
        const { stdout, stderr, exitCode } = await tool.run(...args);
        assert.equal(exitCode, 0, stderr);
        assert.equal(digestOf(Buffer.from(stdout)), image.root.digest);
      }
      const blob = `${node.host}/${REPOSITORY}@${layers[0]?.digest}`;
      const fetched =
        client === 'crane'
          ? await tool.run('blob', plain, blob)
          : await tool.run('blob', 'fetch', plain, '--output', 'blob', blob);
      assert.equal(fetched.exitCode, 0, fetched.stderr);
      assert.equal(await node.metric('damselfly_digest_mismatch_total'), 0);
    });
  });
}
