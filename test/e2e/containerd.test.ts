import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { OciImage } from '../support/oci.ts';
import { lacking } from './support/capabilities.ts';
import { type Containerd, hostsFolder, startContainerd } from './support/containerd.ts';
import { Damselfly } from './support/damselfly.ts';
import { makeImage } from './support/images.ts';
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

const REPOSITORY = 'lab/secret';
const LOGIN = `${REGISTRY_USER}:${REGISTRY_PASSWORD}`;

// A real containerd pulls through a hosts.toml mirror, from registries of every kind of login.
for (const { version, registryProgram, skip } of [
  {
    version: 1,
    registryProgram: 'docker-registry',
    skip: lacking('containerd', 'ctr', 'docker-registry', 'root'),
  },
  { version: 2, registryProgram: 'registry-3', skip: lacking('containerd-2', 'ctr-2', 'registry-3', 'root') },
] as const) {
  describe(`containerd ${version} through Damselfly, from ${registryProgram}`, { skip }, () => {
    const shared = new Scope();
    let containerd: Containerd;
    let image: OciImage;
    let tokens: TokenServer;

    before(async () => {
      containerd = await startContainerd(shared, { version });
      image = await makeImage(shared, { bytes: 64 << 20, layers: 4 });
      tokens = await startTokenServer(shared, {
        users: [
          { name: 'anonymous', password: undefined, grants: {} },
          { name: REGISTRY_USER, password: REGISTRY_PASSWORD, grants: { [REPOSITORY]: ['pull'] } },
          { name: 'other', password: 'elsewhere', grants: { 'lab/elsewhere': ['pull'] } },
          { name: 'writer', password: 'writes', grants: { '*': ['pull', 'push'] } },
        ],
      });
    });
    after(() => shared.close());

    let scope: Scope;
    beforeEach(async () => {
      await containerd.forget();
      const fresh = new Scope();
      shared.defer(() => fresh.close());
      scope = fresh;
    });

    const kinds: readonly ('anonymous' | 'htpasswd' | 'token')[] = ['anonymous', 'htpasswd', 'token'];
    for (const kind of kinds) {
      it(`${kind}: the image arrives whole, and once only from the origin`, async () => {
        const { node, reference, registry, viaMirror } = await setUp(kind);
        const login = kind === 'anonymous' ? {} : { user: LOGIN };
        const from = (await registry.requests()).length;
        await containerd.pull({ reference, hostsFolder: viaMirror, ...login });
        assert.equal(await containerd.digestOf(reference), image.root.digest);
        assert.equal(await registry.blobBytes(from), image.blobBytes);
        assert.equal(await requestsServed(node), await requestsSeen(node), 'a request failed at the node');
        assert.ok((await node.metric('damselfly_requested_bytes_total')) >= image.blobBytes);

        await containerd.forget();
        const again = (await registry.requests()).length;
        await containerd.pull({ reference, hostsFolder: viaMirror, ...login });
        assert.equal(await containerd.digestOf(reference), image.root.digest);
        assert.equal(await registry.blobBytes(again), 0);
      });
    }

    for (const kind of ['htpasswd', 'token'] as const) {
      for (const [who, login] of [
        ['without a login', {}],
        ['with a wrong password', { user: `${REGISTRY_USER}:wrong` }],
        ['of a user without the right', { user: 'other:elsewhere' }],
      ] as const) {
        it(`${kind}: a pull ${who} fails as it does without a mirror, also when the image is cached`, async () => {
          const { direct, reference, viaMirror } = await setUp(kind);
          const withoutMirror = await containerd.tryPull({ reference, hostsFolder: direct, ...login });
          assert.notEqual(withoutMirror.exitCode, 0);
          for (const state of ['cold', 'warm']) {
            if (state === 'warm') {
              await containerd.pull({ reference, hostsFolder: viaMirror, user: LOGIN });
              await containerd.forget();
            }
            const refused = await containerd.tryPull({ reference, hostsFolder: viaMirror, ...login });
            assert.notEqual(refused.exitCode, 0, state);
            assert.equal(lastError(refused.stderr), lastError(withoutMirror.stderr), state);
            assert.deepEqual(await containerd.content(), [], state);
          }
        });
      }
    }

    it('a stopped origin: a cached image still comes by its tag where configuration allows it', async () => {
      const { reference, registry, viaMirror } = await setUp('anonymous', { whenOriginDown: 'allow' });
      await containerd.pull({ reference, hostsFolder: viaMirror });
      await containerd.forget();
      await registry.stop();
      await containerd.pull({ reference, hostsFolder: viaMirror });
      assert.equal(await containerd.digestOf(reference), image.root.digest);
    });

    it('a dead node: the pull comes from the origin', async () => {
      const { node, reference, registry, viaMirror } = await setUp('anonymous');
      await node.kill();
      const from = (await registry.requests()).length;
      await containerd.pull({ reference, hostsFolder: viaMirror });
      assert.equal(await registry.blobBytes(from), image.blobBytes);
    });

    interface SetUp {
      readonly registry: Registry;
      readonly node: Damselfly;
      readonly reference: string;
      readonly viaMirror: string;
      readonly direct: string;
    }

    async function setUp(
      kind: (typeof kinds)[number],
      access: Readonly<Record<string, string>> = {},
    ): Promise<SetUp> {
      const registry = await startRegistry(scope, kind === 'token' ? tokens : kind, registryProgram);
      const authorization = authorizationFor(kind);
      await pushImage(
        { registry, repository: REPOSITORY, ...(authorization === undefined ? {} : { authorization }) },
        image,
        'v1',
      );
      const node = await Damselfly.start(scope, { origins: [registry.host], config: { access } });
      return {
        registry,
        node,
        reference: `${registry.host}/${REPOSITORY}:v1`,
        viaMirror: await hostsFolder(scope, registry.host, node.url),
        direct: await hostsFolder(scope, registry.host, undefined),
      };
    }

    function authorizationFor(kind: (typeof kinds)[number]): string | undefined {
      if (kind === 'anonymous') return undefined;
      if (kind === 'htpasswd') return BASIC_AUTHORIZATION;
      return `Bearer ${tokens.tokenFor('writer', [`repository:${REPOSITORY}:pull,push`])}`;
    }
  });
}

async function requestsSeen(node: Damselfly): Promise<number> {
  return await node.metric('damselfly_requests_total', { client: 'containerd' });
}

/** A challenge is an answer too: what must not be is a failure of the node's own. */
async function requestsServed(node: Damselfly): Promise<number> {
  const results = await Promise.all(
    ['ok', 'refused'].map((result) =>
      node.metric('damselfly_requests_total', { client: 'containerd', result }),
    ),
  );
  return results.reduce((sum, value) => sum + value, 0);
}

/** ctr's own words without the address, and the namespace, of who said it. */
function lastError(stderr: string): string {
  const line = stderr.trim().split('\n').at(-1) ?? '';
  return line.replaceAll(/127\.0\.0\.1:\d+/g, 'HOST').replaceAll(/\?ns=[\w.%]+/g, '');
}
