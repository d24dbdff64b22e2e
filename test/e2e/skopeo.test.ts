import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { digestHex, digestOf } from '../../src/blob/digest.ts';
import { addImage } from '../support/oci.ts';
import { headerValues, startOrigin } from '../support/origin.ts';
import { lacking } from './support/capabilities.ts';
import { Damselfly } from './support/damselfly.ts';
import { makeImage } from './support/images.ts';
import { freePort } from './support/net.ts';
import { pushImage } from './support/push.ts';
import { BASIC_AUTHORIZATION, REGISTRY_PASSWORD, REGISTRY_USER, startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';
import { skopeoCopy } from './support/skopeo.ts';
import { startTokenServer } from './support/token-server.ts';

const REPOSITORY = 'lab/img';
const LOGIN = `${REGISTRY_USER}:${REGISTRY_PASSWORD}`;

// containers/image asks GET /v2/ first and sends six Accept lines with a manifest.
describe('skopeo through Damselfly', { skip: lacking('skopeo') }, () => {
  const scope = new Scope();
  after(() => scope.close());

  it('copies an image through a mirror of registries.conf, once only from the origin, with its Accept lines', async () => {
    const origin = await startOrigin();
    scope.defer(() => origin.close());
    const image = await makeImage(scope, { bytes: 8 << 20, layers: 3 });
    await addImage(origin.repository('lab/img'), image, 'v1');
    const node = await Damselfly.start(scope, { origins: [origin.host], defaultOrigin: origin.host });
    const copy = async (name: string, mirrorHost: string | undefined): Promise<void> => {
      const target = join(await scope.folder('copy'), name);
      const options = { registryHost: origin.host, name: 'lab/img:v1', mirrorHost, target };
      const { exitCode, stderr } = await skopeoCopy(scope, options);
      assert.equal(exitCode, 0, stderr);
      const manifest = await readFile(join(target, 'manifest.json'));
      assert.equal(digestOf(manifest), image.root.digest);
      for (const { digest } of image.manifests[0].layers) {
        assert.equal(digestOf(await readFile(join(target, digestHex(digest)))), digest);
      }
    };
    const acceptLines = (): string[][] =>
      origin.find({ endpoint: 'manifest' }).map(({ rawHeaders }) => headerValues(rawHeaders, 'accept'));

    await copy('direct', undefined);
    const [wanted = []] = acceptLines();
    assert.equal(wanted.length, 6);

    origin.reset();
    await copy('cold', node.host);
    assert.equal(origin.bytesSent(), image.blobBytes);
    assert.ok(acceptLines().length > 0);
    for (const lines of acceptLines()) assert.deepEqual(lines, wanted);
    assert.ok((await node.metric('damselfly_requests_total', { client: 'containers', result: 'ok' })) > 0);
    assert.equal(
      await node.metric('damselfly_requests_total', { client: 'containers', result: 'failed' }),
      0,
    );

    origin.reset();
    await copy('warm', node.host);
    assert.equal(origin.bytesSent(), 0);
  });

  for (const auth of ['htpasswd', 'token'] as const) {
    it(`${auth}: copies with its login, once only from the registry, and not without`, {
      skip: lacking('docker-registry'),
    }, async () => {
      const image = await makeImage(scope, { bytes: 8 << 20, layers: 3 });
      const tokens = await startTokenServer(scope, {
        users: [
          { name: 'anonymous', password: undefined, grants: {} },
          { name: REGISTRY_USER, password: REGISTRY_PASSWORD, grants: { [REPOSITORY]: ['pull', 'push'] } },
        ],
      });
      const registry = await startRegistry(scope, auth === 'token' ? tokens : auth);
      const token = tokens.tokenFor(REGISTRY_USER, [`repository:${REPOSITORY}:pull,push`]);
      const authorization = auth === 'token' ? `Bearer ${token}` : BASIC_AUTHORIZATION;
      await pushImage({ registry, repository: REPOSITORY, authorization }, image, 'v1');
      const node = await Damselfly.start(scope, { origins: [registry.host], defaultOrigin: registry.host });
      const before = (await registry.requests()).length;
      const copy = async (name: string, login: string | undefined): Promise<number> => {
        const { exitCode } = await skopeoCopy(scope, {
          registryHost: 'registry.lab.invalid:5000',
          mirrorHost: node.host,
          name: `${REPOSITORY}:v1`,
          login,
          target: join(await scope.folder('copy'), name),
        });
        return exitCode;
      };
      assert.equal(await copy('cold', LOGIN), 0);
      assert.equal(await copy('warm', LOGIN), 0);
      assert.equal(await registry.blobBytes(before), image.blobBytes);
      for (const wrong of [undefined, `${REGISTRY_USER}:wrong`]) assert.notEqual(await copy('no', wrong), 0);
    });
  }

  it('two registries behind one node, each by a port of its own: the same repository, another image', async () => {
    const names = ['one.lab.invalid', 'two.lab.invalid'] as const;
    const sources = await Promise.all(
      names.map(async (name) => {
        const origin = await startOrigin();
        scope.defer(() => origin.close());
        const image = await makeImage(scope, { bytes: 4 << 20, layers: 2, seed: name });
        await addImage(origin.repository(REPOSITORY), image, 'v1');
        return { name, origin, image, mirrorHost: `127.0.0.1:${await freePort()}` };
      }),
    );
    const listeners = sources.map(({ mirrorHost, origin }) => ({ listen: mirrorHost, origin: origin.url }));
    await Damselfly.start(scope, {
      origins: sources.map(({ origin }) => origin.host),
      config: { proxy: { listeners } },
    });
    const mirrors = sources.map(({ name, mirrorHost }) => ({ registryHost: name, mirrorHost }));
    for (const { name, image, mirrorHost } of sources) {
      const target = join(await scope.folder('copy'), name);
      const options = { registryHost: name, mirrorHost, name: `${REPOSITORY}:v1`, target };
      const others = mirrors.filter(({ registryHost }) => registryHost !== name);
      const { exitCode, stderr } = await skopeoCopy(scope, { ...options, others });
      assert.equal(exitCode, 0, stderr);
      assert.equal(digestOf(await readFile(join(target, 'manifest.json'))), image.root.digest);
    }
    for (const { origin, image } of sources) assert.equal(origin.bytesSent(), image.blobBytes);
  });
});
