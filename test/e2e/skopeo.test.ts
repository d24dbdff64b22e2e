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
import { Scope } from './support/scope.ts';
import { skopeoCopy } from './support/skopeo.ts';

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
});
