import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeAuthority } from '../support/authority.ts';
import { httpGet } from '../support/http-get.ts';
import { selfSigned } from '../support/origin.ts';
import { lacking, program } from './support/capabilities.ts';
import { Damselfly } from './support/damselfly.ts';
import { realTree } from './support/images.ts';
import { freePort } from './support/net.ts';
import { buildRafs, type RafsImage } from './support/nydus-image.ts';
import { mountNydus, type NydusBackend } from './support/nydusd.ts';
import { pushBlob } from './support/push.ts';
import { type Registry, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { startService } from './support/service.ts';
import { compareTrees } from './support/tree-compare.ts';

const REPOSITORY = 'lab/ingress';
const skip = lacking('nydusd', 'nydus-image', 'docker-registry', 'fuse', 'root');

// A real nydusd 2.2.0 by the forms that are no mirror: CONNECT to an https registry, and its http-proxy backend.
describe('nydusd through the other forms of ingress', { skip }, () => {
  const shared = new Scope();
  let plain: Registry;
  /** `127.0.0.1:port` of the same registry by https. */
  let secureHost: string;
  let caFile: string;
  let tree: string;
  let image: RafsImage;

  before(async () => {
    const folder = await shared.folder('ingress');
    const data = join(folder, 'data');
    await mkdir(data);
    const certificate = await selfSigned();
    caFile = join(folder, 'tls.crt');
    const keyFile = join(folder, 'tls.key');
    await writeFile(caFile, certificate.cert);
    await writeFile(keyFile, certificate.key);
    secureHost = `127.0.0.1:${await freePort()}`;
    const config = join(folder, 'registry.json');
    await writeFile(
      config,
      JSON.stringify({
        version: '0.1',
        log: { level: 'warn' },
        storage: { filesystem: { rootdirectory: data } },
        http: { addr: secureHost, secret: 'these tests', tls: { certificate: caFile, key: keyFile } },
      }),
    );
    await startService(shared, {
      name: 'docker-registry',
      command: program('docker-registry'),
      args: ['serve', config],
      logFile: join(folder, 'registry.log'),
      ready: async () => {
        try {
          return (await httpGet(`https://${secureHost}/v2/`, { ca: certificate.cert })).status === 200;
        } catch {
          return false;
        }
      },
    });
    plain = await startRegistry(shared);
    tree = await realTree(shared);
    image = await buildRafs(tree, folder, 6);
    const { digest, file } = image.blob;
    await pushBlob({ registry: plain, repository: REPOSITORY }, { digest, content: { file } });
    const content = await readFile(file);
    const at = `https://${secureHost}/v2/${REPOSITORY}/blobs/uploads/`;
    const begun = await httpGet(at, { method: 'POST', ca: certificate.cert });
    const location = new URL(begun.header('location') ?? '', at);
    location.searchParams.set('digest', digest);
    const put = await httpGet(location, {
      method: 'PUT',
      ca: certificate.cert,
      body: content,
      timeoutMs: 60_000,
    });
    assert.equal(put.status, 201);
  });
  after(() => shared.close());

  it('proxy, https: a blind tunnel carries every byte, and none of it is cached', async () => {
    await withNode({}, async (scope, node) => {
      await compare(scope, registryBackend(node));
      assert.ok((await node.metric('damselfly_tunnels_total', { kind: 'blind' })) > 0);
      const down = await node.metric('damselfly_tunnel_bytes_total', { direction: 'down' });
      assert.ok(down >= image.blob.size * 0.9, `${down} of ${image.blob.size}`);
      assert.equal(await node.metric('damselfly_requested_bytes_total'), 0);
    });
  });

  it('proxy, https: intercepted, the blob is read from the origin once and cached', async () => {
    const scope = new Scope();
    try {
      const authority = await makeAuthority();
      const folder = await scope.folder('authority');
      const files = { caCertFile: join(folder, 'ca.crt'), caKeyFile: join(folder, 'ca.key') };
      await writeFile(files.caCertFile, authority.cert);
      await writeFile(files.caKeyFile, authority.key, { mode: 0o600 });
      await withNode({ intercept: { hosts: [secureHost], ...files } }, async (inner, node) => {
        await compare(inner, registryBackend(node));
        assert.ok((await node.metric('damselfly_tunnels_total', { kind: 'intercepted' })) > 0);
        assert.equal(await node.metric('damselfly_tunnels_total', { kind: 'blind' }), 0);
        const cold = await node.metric('damselfly_origin_bytes_total');
        assert.ok(cold <= image.blob.size * 1.05, `${cold / image.blob.size} times the blob`);
        await compare(inner, registryBackend(node));
        assert.equal(await node.metric('damselfly_origin_bytes_total'), cold);
      });
    } finally {
      await scope.close();
    }
  });

  for (const kind of ['unix', 'tcp'] as const) {
    it(`http-proxy backend over ${kind}: a listener that is the blob`, async () => {
      const scope = new Scope();
      try {
        const socket = join(await scope.folder('socket'), 'blob.sock');
        const address = `127.0.0.1:${await freePort()}`;
        const listen = kind === 'unix' ? `unix:${socket}` : address;
        const blob = `${REPOSITORY}@${image.blob.digest}`;
        const listeners = [{ listen, origin: plain.url, blob }];
        await withNode({ listeners }, async (inner, node) => {
          const config = kind === 'unix' ? { addr: socket } : { addr: `http://${address}`, path: '/blobs' };
          await compare(inner, { type: 'http-proxy', config });
          assert.ok((await node.metric('damselfly_requested_bytes_total')) >= image.blob.size * 0.9);
        });
      } finally {
        await scope.close();
      }
    });
  }

  function registryBackend(node: Damselfly): NydusBackend {
    return {
      type: 'registry',
      config: {
        scheme: 'https',
        host: secureHost,
        repo: REPOSITORY,
        skip_verify: true,
        timeout: 5,
        connect_timeout: 5,
        retry_limit: 0,
        proxy: { url: node.url, ping_url: `${node.url}/ping`, fallback: false, check_interval: 1 },
      },
    };
  }

  async function withNode(
    proxy: Readonly<Record<string, unknown>>,
    work: (scope: Scope, node: Damselfly) => Promise<void>,
  ): Promise<void> {
    const scope = new Scope();
    try {
      // The registry by https is listed with its certificate, and by http for the listeners.
      const node = await Damselfly.start(scope, {
        origins: [plain.host],
        config: { proxy },
        secure: { [secureHost]: caFile },
      });
      await work(scope, node);
    } finally {
      await scope.close();
    }
  }

  async function compare(scope: Scope, backend: NydusBackend): Promise<void> {
    const mount = await mountNydus(scope, {
      image,
      registryHost: secureHost,
      repository: REPOSITORY,
      route: { kind: 'direct' },
      prefetch: false,
      backend,
    });
    const { bytes, differences, entries } = await compareTrees(tree, mount.mountpoint);
    assert.deepEqual(differences, []);
    assert.ok(entries > 1_000 && bytes > 100e6, `${entries} entries, ${bytes} bytes`);
    await mount.unmount();
  }
});
