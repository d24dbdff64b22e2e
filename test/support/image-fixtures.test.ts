import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract } from 'tar-stream';
import { digestHex } from '../../src/blob/digest.ts';
import { httpGet } from './http-get.ts';
import { addImage, buildImage, readImage, share } from './oci.ts';
import { startOrigin } from './origin.ts';
import { addRafsBlob, buildRafs, hasNydusImage, rafsToImage } from './rafs.ts';
import { tarFolder } from './tar-folder.ts';
import { tempFolder } from './temp-folder.ts';
import { makeTree } from './tree.ts';

async function entriesOf(file: string, unpack?: NodeJS.ReadWriteStream): Promise<Map<string, string>> {
  const archive = extract();
  const source = createReadStream(file);
  (unpack === undefined ? source : source.pipe(unpack)).pipe(archive as unknown as NodeJS.WritableStream);
  const entries = new Map<string, string>();
  for await (const entry of archive) {
    const { name, type, linkname, mode } = entry.header;
    const hash = createHash('sha256');
    for await (const chunk of entry) hash.update(chunk as Buffer);
    entries.set(
      name,
      `${type} ${mode?.toString(8)} ${linkname ?? ''} ${type === 'file' ? hash.digest('hex') : ''}`,
    );
  }
  return entries;
}

describe('a made tree', () => {
  it('is the same for the same seed, another for another, and about as big as asked', async (t) => {
    const folder = await tempFolder(t);
    const first = await makeTree(folder.file('a'), { seed: 3, bytes: 3_000_000 });
    assert.deepEqual(await makeTree(folder.file('b'), { seed: 3, bytes: 3_000_000 }), first);
    await makeTree(folder.file('c'), { seed: 4, bytes: 3_000_000 });
    assert.ok(first.bytes >= 3_000_000 && first.bytes < 3_400_000, String(first.bytes));
    assert.equal((await lstat(folder.file('a', 'odd', 'soft-link'))).mtimeMs, 1_700_000_000_000);
    assert.equal((await lstat(folder.file('a', 'odd'))).mtimeMs, 1_700_000_000_000);
    assert.ok(first.files > 50 && first.links >= 4);
    const digests = [];
    for (const name of ['a', 'b', 'c'])
      digests.push((await tarFolder(folder.file(name), folder.path)).digest);
    assert.equal(digests[0], digests[1]);
    assert.notEqual(digests[0], digests[2]);
  });

  it('holds what packers get wrong', async (t) => {
    const folder = await tempFolder(t);
    await makeTree(folder.file('tree'), { bytes: 1_000_000 });
    const layer = await tarFolder(folder.file('tree'), folder.path, { compression: 'none' });
    const entries = await entriesOf(layer.file);
    assert.match(entries.get('odd/one-byte') ?? entries.get('odd/hard-link') ?? '', /^(file|link) 400 /);
    assert.match(entries.get('odd/soft-link') ?? '', /^symlink \d+ one-byte/);
    assert.match(entries.get('odd/dangling') ?? '', /^symlink \d+ \/nowhere\/at\/all/);
    assert.match(entries.get('odd/setuid') ?? '', /^file 4755 /);
    assert.match(entries.get(`odd/${'x'.repeat(255)}`) ?? '', /^file /);
    assert.ok(
      entries.has('odd/empty folder/') &&
        entries.has('odd/line\nbreak') &&
        entries.has('odd/ümläuts ünd 漢字 🦋'),
    );
    const links = [...entries.values()].filter((entry) => entry.startsWith('link '));
    assert.equal(links.length, 1, 'a hard link is stored once and linked once');
  });
});

describe('a made image', () => {
  it('has layers in every compression with true digests and diff ids', async (t) => {
    const folder = await tempFolder(t);
    await makeTree(folder.file('tree'), { bytes: 1_000_000 });
    const plain = await tarFolder(folder.file('tree'), folder.path, { compression: 'none' });
    assert.equal(plain.digest, plain.diffId);
    for (const [compression, unpack] of [
      ['gzip', createGunzip()],
      ['zstd', createZstdDecompress()],
    ] as const) {
      const layer = await tarFolder(folder.file('tree'), folder.path, { compression });
      assert.equal(layer.diffId, plain.diffId);
      assert.ok(layer.size < plain.size && layer.mediaType.endsWith(`+${compression}`));
      const hash = createHash('sha256').update(await readFile(layer.file));
      assert.equal(`sha256:${hash.digest('hex')}`, layer.digest);
      assert.deepEqual(await entriesOf(layer.file, unpack), await entriesOf(plain.file));
    }
  });

  it('is an OCI layout, and a repository serves it by tag, index, manifest and blobs', async (t) => {
    const folder = await tempFolder(t);
    await makeTree(folder.file('tree'), { bytes: 2_000_000 });
    const image = await buildImage(folder.file('layout'), {
      layers: [0, 1].map((index) => ({ folder: folder.file('tree'), only: share(index, 2) })),
      platforms: ['linux/amd64', 'linux/arm64'],
    });
    assert.equal(image.manifests.length, 2);
    assert.notEqual(image.manifests[0].config.digest, image.manifests[1]?.config.digest);
    assert.deepEqual(image.manifests[0].layers, image.manifests[1]?.layers);
    const names = await readdir(folder.file('layout', 'blobs', 'sha256'));
    assert.equal(names.length, 2 + 2 + 2 + 1);
    for (const name of names) {
      const bytes = await readFile(folder.file('layout', 'blobs', 'sha256', name));
      assert.equal(createHash('sha256').update(bytes).digest('hex'), name);
    }

    assert.deepEqual(await readImage(image.layout), image);

    await using origin = await startOrigin();
    await addImage(origin.repository('lab/app'), image, 'v1');
    const index = await httpGet(`${origin.url}/v2/lab/app/manifests/v1`);
    const { manifests } = index.json() as {
      manifests: { digest: string; platform: { architecture: string } }[];
    };
    assert.deepEqual(
      manifests.map((entry) => entry.platform.architecture),
      ['amd64', 'arm64'],
    );
    const manifest = (await httpGet(`${origin.url}/v2/lab/app/manifests/${manifests[1]?.digest}`)).json() as {
      config: { digest: string };
      layers: { digest: string; size: number }[];
    };
    for (const { digest, size } of manifest.layers) {
      const blob = await httpGet(`${origin.url}/v2/lab/app/blobs/${digest}`);
      assert.equal(blob.bytes, size);
      assert.equal(createHash('sha256').update(blob.body).digest('hex'), digest.slice(7));
    }
    const config = await httpGet(`${origin.url}/v2/lab/app/blobs/${manifest.config.digest}`);
    assert.equal((config.json() as { architecture: string }).architecture, 'arm64');
  });

  it('the layers of a shared-out folder hold everything once', async (t) => {
    const folder = await tempFolder(t);
    await makeTree(folder.file('tree'), { bytes: 1_000_000 });
    const filesOf = async (only?: (path: string) => boolean) => {
      const layer = await tarFolder(folder.file('tree'), folder.path, {
        compression: 'none',
        ...(only && { only }),
      });
      return [...(await entriesOf(layer.file)).keys()].filter((name) => !name.endsWith('/')).sort();
    };
    const shares = await Promise.all([0, 1, 2].map((index) => filesOf(share(index, 3))));
    assert.deepEqual(shares.flat().sort(), await filesOf());
    assert.ok(shares.every((names) => names.length > 0));
  });

  it('fails, and leaves no file behind, when a folder is not there', async (t) => {
    const folder = await tempFolder(t);
    await assert.rejects(tarFolder(folder.file('absent'), folder.path), { code: 'ENOENT' });
    assert.deepEqual(await readdir(folder.path), []);
    await makeTree(folder.file('tree'), { bytes: 1_000_000 });
    await assert.rejects(tarFolder(folder.file('tree'), folder.file('absent')), { code: 'ENOENT' });
  });
});

describe('a RAFS image', { skip: hasNydusImage() ? false : 'nydus-image is not here' }, () => {
  for (const version of [5, 6] as const) {
    it(`v${version}: its blob is served, and the image round it has the bootstrap`, async (t) => {
      const folder = await tempFolder(t);
      await makeTree(folder.file('tree'), { bytes: 2_000_000 });
      const rafs = await buildRafs(folder.file('tree'), folder.path, version);
      await using origin = await startOrigin();
      const blob = addRafsBlob(origin.repository('lab/rafs'), rafs);
      const answer = await httpGet(origin.url + blob.path);
      assert.equal(createHash('sha256').update(answer.body).digest('hex'), digestHex(blob.digest));
      const image = await rafsToImage(folder.file('layout'), rafs);
      await addImage(origin.repository('lab/rafs'), image, `v${version}`);
      const [data, bootstrap] = image.manifests[0].layers;
      assert.equal(data?.digest, blob.digest);
      const file = folder.file('layout', 'blobs', 'sha256', digestHex(bootstrap?.digest ?? blob.digest));
      assert.ok((await entriesOf(file, createGunzip())).has('image/image.boot'));
    });
  }
});
