import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import { httpGet } from './http-get.ts';
import { addImage, buildImage } from './oci.ts';
import { seededBytes, seededDigest, startOrigin } from './origin.ts';
import { startOriginProcess } from './origin-process.ts';
import { tempFolder } from './temp-folder.ts';
import { makeTree } from './tree.ts';

describe('a test origin in a process of its own', () => {
  it('holds what it was told to, and takes orders', async () => {
    await using origin = await startOriginProcess({
      repositories: { 'lab/app': { blobs: [{ size: 100_000, seed: 'remote' }] } },
    });
    const [blob] = origin.repositories['lab/app']?.blobs ?? [];
    assert.equal(blob?.digest, seededDigest('remote', 100_000));
    const url = `${origin.url}${blob?.path}`;
    const answer = await httpGet(url);
    assert.ok(answer.body.equals(seededBytes('remote', { start: 0, end: 100_000 })));
    assert.equal(await origin.bytesSent(), 100_000);
    assert.equal(await origin.bytesSent({ repository: 'lab/other' }), 0);
    assert.equal((await origin.requests({ endpoint: 'blob' }))[0]?.status, 200);
    assert.ok((await origin.cpuMs()) > 0);

    await origin.fault({ match: { pattern: '/blobs/', times: 1 }, action: { status: 503 } });
    assert.deepEqual([(await httpGet(url)).status, (await httpGet(url)).status], [503, 200]);
    await origin.setRedirect({ status: 307 });
    assert.ok((await httpGet(url)).header('location')?.startsWith(origin.cdnUrl));
    await origin.setRedirect(undefined);
    await origin.down();
    await assert.rejects(httpGet(url), { code: 'ECONNREFUSED' });
    await origin.up();
    await origin.reset();
    assert.equal(await origin.bytesSent(), 0);
    assert.equal((await httpGet(url)).status, 200);
  });

  it('serves an OCI layout from disk', async (t) => {
    const folder = await tempFolder(t);
    await makeTree(folder.file('tree'), { bytes: 500_000 });
    const image = await buildImage(folder.file('layout'), {
      layers: [{ folder: folder.file('tree') }],
      index: true,
    });
    await using origin = await startOriginProcess({ repositories: { r: { layouts: { v1: image.layout } } } });
    await using here = await startOrigin();
    await addImage(here.repository('r'), image, 'v1');
    assert.equal(origin.repositories.r?.tags.v1, image.root.digest);
    const paths = ['manifests/v1', `manifests/${image.manifests[0].descriptor.digest}`];
    for (const layer of image.manifests[0].layers) paths.push(`blobs/${layer.digest}`);
    for (const path of paths) {
      const [there, local] = await Promise.all(
        [origin, here].map(({ url }) => httpGet(`${url}/v2/r/${path}`)),
      );
      assert.equal(there?.status, 200);
      assert.ok(there?.body.equals(local?.body ?? Buffer.alloc(0)), path);
    }
  });

  it('ends when told to, when its parent goes, and says what went wrong at the start', async () => {
    const origin = await startOriginProcess();
    await origin.close();
    await assert.rejects(httpGet(origin.url), { code: 'ECONNREFUSED' });
    await assert.rejects(origin.bytesSent(), /has ended/);
    await assert.rejects(startOriginProcess({ port: -1 }), /ended before it listened/);

    const script = `import('${new URL('origin-process.ts', import.meta.url)}').then(async (module) => {
      console.log((await module.startOriginProcess()).url);
    })`;
    const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const url = `${line.toString().trim()}/v2/`;
    assert.equal((await httpGet(url)).status, 200);
    parent.kill('SIGKILL');
    const refused = () =>
      httpGet(url).then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
      );
    await eventually(refused);
  });

  it('by hand: prints one line of JSON, refuses what it does not know', async () => {
    const main = fileURLToPath(new URL('origin-main.ts', import.meta.url));
    const wrong = spawn(process.execPath, [main, '--nonsense'], { stdio: 'ignore' });
    assert.deepEqual(await once(wrong, 'exit'), [2, null]);
    const right = spawn(process.execPath, [main], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(right.stdout, 'data')) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    assert.equal((await httpGet(`${url}/v2/`)).status, 200);
    right.kill('SIGTERM');
    assert.deepEqual(await once(right, 'exit'), [0, null]);
  });
});
