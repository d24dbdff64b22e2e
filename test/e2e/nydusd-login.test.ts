import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { lacking } from './support/capabilities.ts';
import { Damselfly } from './support/damselfly.ts';
import { realTree } from './support/images.ts';
import { buildRafs, type RafsImage } from './support/nydus-image.ts';
import { mountNydus, type NydusRoute } from './support/nydusd.ts';
import { pushBlob } from './support/push.ts';
import {
  BASIC_AUTHORIZATION,
  REGISTRY_PASSWORD,
  REGISTRY_USER,
  type Registry,
  startRegistry,
} from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { startTokenServer, type TokenServer } from './support/token-server.ts';
import { compareTrees } from './support/tree-compare.ts';

const REPOSITORY = 'lab/private';
const LOGIN = { user: REGISTRY_USER, password: REGISTRY_PASSWORD };
const skip = lacking('nydusd', 'nydus-image', 'docker-registry', 'fuse', 'root');

// A private image: nydusd logs in by itself, through the node where its way leads there.
describe('nydusd with a login, through Damselfly', { skip }, () => {
  const shared = new Scope();
  let tree: string;
  let image: RafsImage;
  let tokens: TokenServer;

  before(async () => {
    tree = await realTree(shared, 'zod');
    image = await buildRafs(tree, await shared.folder('rafs'), 6);
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

  for (const auth of ['htpasswd', 'token'] as const) {
    for (const kind of ['mirrors', 'proxy'] as const) {
      it(`${auth}, ${kind}: reads right, warm from the node, and nobody else reads what is cached`, async () => {
        const scope = new Scope();
        try {
          const registry = await startRegistry(scope, auth === 'token' ? tokens : auth);
          const authorization =
            auth === 'token'
              ? `Bearer ${tokens.tokenFor('writer', [`repository:${REPOSITORY}:pull,push`])}`
              : BASIC_AUTHORIZATION;
          const { digest, file } = image.blob;
          await pushBlob({ registry, repository: REPOSITORY, authorization }, { digest, content: { file } });
          const node = await Damselfly.start(scope, { origins: [registry.host, new URL(tokens.realm).host] });
          const mount = (login?: typeof LOGIN) =>
            mountNydus(scope, {
              image,
              registryHost: registry.host,
              repository: REPOSITORY,
              route: routeTo(node, registry, kind),
              prefetch: false,
              ...(login && { login }),
            });

          const cold = await mount(LOGIN);
          assert.deepEqual((await compareTrees(tree, cold.mountpoint)).differences, []);
          await cold.unmount();

          const from = (await registry.requests()).length;
          const warm = await mount(LOGIN);
          assert.deepEqual((await compareTrees(tree, warm.mountpoint)).differences, []);
          await warm.unmount();
          assert.equal(await registry.blobBytes(from), 0);

          const served = await node.metric('damselfly_served_bytes_total');
          for (const stranger of [undefined, { user: 'other', password: 'elsewhere' }]) {
            const refused = await mount(stranger);
            await assert.rejects(readFile(join(refused.mountpoint, 'real/package.json')), 'a stranger reads');
            await refused.unmount();
          }
          assert.equal(
            await node.metric('damselfly_served_bytes_total'),
            served,
            'bytes left for a stranger',
          );
        } finally {
          await scope.close();
        }
      });
    }
  }
});

function routeTo(node: Damselfly, registry: Registry, kind: 'mirrors' | 'proxy'): NydusRoute {
  const pingUrl = `${node.url}/ping`;
  if (kind === 'proxy') return { kind, url: node.url, pingUrl };
  return { kind, url: node.url, pingUrl, registryHeader: registry.url };
}
