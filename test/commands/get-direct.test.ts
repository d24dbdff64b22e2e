import assert from 'node:assert/strict';
import { access, chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { after, before, beforeEach, type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type Listening, listening, refusingAddress } from '../support/listening.ts';
import { OCI_INDEX, seededBytes, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type CliOptions, type CliResult, runCli, startCli } from './run-cli.ts';

/** No node runs: everything here goes to the origin directly. */
const SIZE = 3 * 2 ** 20 + 12345;
const BYTES = seededBytes('get', { start: 0, end: SIZE });
let origin: TestOrigin;
let blob: TestBlob;
let url: string;
let nowhere: string;
let folder: TempFolder;

before(async () => {
  origin = await startOrigin();
  blob = origin.repository('app').addBlob({ size: SIZE, seed: 'get' });
  url = origin.url + blob.path;
  nowhere = await refusingAddress();
  folder = await tempFolder();
});
after(async () => {
  await origin.close();
  await folder.remove();
});
beforeEach(() => {
  origin.reset();
  origin.redirect = undefined;
  origin.bytesPerSecond = undefined;
});

let count = 0;
function output(): string {
  count += 1;
  return folder.file(`out-${count}`);
}

function get(
  target: string,
  file: string,
  more: readonly string[] = [],
  options: CliOptions = {},
): Promise<CliResult> {
  return runCli(['get', target, '-O', file, '--node', nowhere, ...more], options);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Neither the file nor anything of its download. */
async function assertNothing(file: string): Promise<void> {
  for (const name of [file, `${file}.partial`, `${file}.partial.state`])
    assert.equal(await exists(name), false, name);
}

/** A server of one object, or whatever the listener makes of it. */
async function serveObject(t: TestContext, listener: RequestListener): Promise<Listening> {
  const server = await listening(createServer(listener));
  t.after(() => server.close());
  return server;
}

test('a blob is downloaded, checked against the digest of its URL, and reported', async () => {
  const file = output();
  const { code, stderr, json } = await get(url, file, ['--json']);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
  const { seconds, ...document } = json();
  assert.equal(typeof seconds, 'number');
  assert.deepEqual(document, {
    url,
    output: file,
    bytes: SIZE,
    resumedBytes: 0,
    range: null,
    digest: blob.digest,
    verified: true,
    source: 'origin',
    through: 'direct',
  });
  assert.match(
    stderr,
    new RegExp(`the node at ${nowhere} cannot be asked \\(connection refused\\); going on directly`),
  );
  assert.equal(origin.requests.length, 1);
  assert.equal(origin.requests[0]?.range, undefined);
  assert.equal(await exists(`${file}.partial`), false);
  assert.equal(await exists(`${file}.partial.state`), false);
});

test('wrong bytes: 1, and nothing is left; an old file stays', async () => {
  const file = output();
  await writeFile(file, 'old');
  origin.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 7 } });
  const { code, stderr } = await get(url, file);
  assert.equal(code, 1);
  assert.match(stderr, /nothing was kept.*\[digest-mismatch\]/);
  assert.equal(await readFile(file, 'utf8'), 'old');
  assert.equal(await exists(`${file}.partial`), false);
  const fresh = output();
  assert.equal((await get(url, fresh)).code, 1);
  await assertNothing(fresh);
});

test('a digest flag that the URL contradicts, or that the bytes do not have, is 1', async (t) => {
  const wrong = `sha256:${'0'.repeat(64)}`;
  const file = output();
  const { code, json } = await get(url, file, ['--digest', wrong, '--json']);
  assert.equal(code, 1);
  assert.equal((json().error as { code: string }).code, 'digest-mismatch');
  assert.equal(origin.requests.length, 0);
  const server = await serveObject(t, (_, response) => response.end('hello'));
  assert.equal((await get(`${server.url}/x`, file, ['--digest', wrong])).code, 1);
  await assertNothing(file);
  const right = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
  assert.equal((await get(`${server.url}/x`, file, ['--digest', right])).code, 0);
});

test('ranges of every form, from an origin that honours them and from one that does not', async () => {
  for (const [range, start, end] of [
    ['0-0', 0, 1],
    ['1000-1999', 1000, 2000],
    [`${SIZE - 10}-`, SIZE - 10, SIZE],
    [`${SIZE - 10}-${SIZE + 500}`, SIZE - 10, SIZE],
    ['-10', SIZE - 10, SIZE],
  ] as const) {
    for (const ignoreRange of [false, true]) {
      origin.reset();
      if (ignoreRange) origin.fault({ match: { endpoint: 'blob' }, action: { ignoreRange: true } });
      const file = output();
      const { code, stderr, json } = await get(url, file, [`--range=${range}`, '--json']);
      assert.equal(code, 0, stderr);
      assert.deepEqual(await readFile(file), BYTES.subarray(start, end), `${range} ${ignoreRange}`);
      const { bytes, verified } = json();
      assert.deepEqual(
        { bytes, range: json().range, verified },
        { bytes: end - start, range, verified: false },
      );
    }
  }
});

test('a range past the end is 1 and says how long the blob is', async () => {
  const file = output();
  const { code, stderr } = await get(url, file, ['--range', `${SIZE}-`]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`past the end: it has ${SIZE} bytes.*\\[range-not-satisfiable\\]`));
  await assertNothing(file);
});

test('an empty blob', async () => {
  const empty = origin.repository('app').addBlob(new Uint8Array());
  const file = output();
  assert.equal((await get(origin.url + empty.path, file)).code, 0);
  assert.equal((await readFile(file)).length, 0);
});

test('a transfer that breaks off goes on where it broke off', async () => {
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { resetAtByte: 2 ** 20 } });
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { endAtByte: 2 ** 19 } });
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { status: 503, retryAfterSeconds: 0 } });
  const file = output();
  const { code, stderr } = await get(url, file);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
  assert.equal(origin.requests.length, 4);
  const starts = origin.requests.map(({ range }) => Number(/^bytes=(\d+)-/.exec(range ?? 'bytes=0-')?.[1]));
  assert.ok(
    starts.every((start, i) => start >= (starts[i - 1] ?? 0)),
    starts.join(),
  );
  assert.ok(origin.bytesSent() < SIZE + 2 ** 20, 'what was there is not asked for again');
});

test('an interrupted download leaves FILE.partial, and the next run goes on from it', async () => {
  const file = output();
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { stallAtByte: 2 ** 20 } });
  const first = startCli(['get', url, '-O', file, '--node', nowhere]);
  await first.shows(/begins/);
  const { code, stderr } = await stopOnce(first, file);
  assert.equal(code, 1);
  assert.match(stderr, /stopped; the same command goes on from here/);
  assert.equal(await exists(file), false);
  origin.reset();
  const second = await get(url, file, ['--json']);
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(await readFile(file), BYTES);
  const { resumedBytes } = second.json();
  assert.ok(Number(resumedBytes) > 0);
  assert.equal(origin.requests[0]?.range, `bytes=${resumedBytes}-${SIZE - 1}`);
});

/** Ends it when it has something on the disk. */
async function stopOnce(running: ReturnType<typeof startCli>, file: string): Promise<CliResult> {
  await eventually(async () => (await stat(`${file}.partial`)).size > 0);
  running.kill('SIGINT');
  running.kill('SIGTERM');
  return running.result;
}

test('what an earlier run left is thrown away when it turns out to be wrong, or of something else', async () => {
  const file = output();
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { stallAtByte: 2 ** 20 } });
  const first = startCli(['get', url, '-O', file, '--node', nowhere]);
  await first.shows(/begins/);
  await stopOnce(first, file);
  const state = await readFile(`${file}.partial.state`, 'utf8');
  assert.doesNotMatch(state, /http/, 'a URL may hold a secret');
  const other = origin.repository('app').addBlob(Buffer.from('another blob'));
  await writeFile(`${file}.partial`, Buffer.alloc(5000, 1));
  const wrong = await get(url, file);
  assert.equal(wrong.code, 0, wrong.stderr);
  assert.match(wrong.stderr, /does not fit; starting over/);
  assert.deepEqual(await readFile(file), BYTES);
  await writeFile(`${file}.partial`, Buffer.alloc(5000, 1));
  await writeFile(`${file}.partial.state`, state);
  assert.equal((await get(origin.url + other.path, file)).code, 0);
  assert.equal(await readFile(file, 'utf8'), 'another blob');
});

test('a file that another process downloads is refused', async () => {
  const file = output();
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { stallAtByte: 2 ** 20 } });
  const first = startCli(['get', url, '-O', file, '--node', nowhere]);
  await first.shows(/begins/);
  const { code, stderr } = await get(url, file);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`process ${first.pid} is downloading to this file already`));
  origin.clearFaults();
  assert.equal((await first.result).code, 0);
  assert.deepEqual(await readFile(file), BYTES);
});

test('an object is continued only under its ETag; one that changed is taken anew', async (t) => {
  let version = 1;
  const body = (): Buffer => Buffer.alloc(300_000, version);
  const ranges: (string | undefined)[] = [];
  const server = await serveObject(t, (request, response) => {
    const whole = body();
    ranges.push(request.headers.range);
    const etag = `"v${version}"`;
    const isSame = request.headers['if-range'] === etag;
    const start = isSame ? Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0) : 0;
    const head = { ETag: etag, 'Content-Length': whole.length - start };
    if (start > 0)
      response.writeHead(206, {
        ...head,
        'Content-Range': `bytes ${start}-${whole.length - 1}/${whole.length}`,
      });
    else response.writeHead(200, head);
    if (ranges.length % 2 === 0) response.end(whole.subarray(start));
    else response.write(whole.subarray(start, start + 100_000), () => response.destroy());
    if (ranges.length === 3) version = 2;
  });
  const same = output();
  assert.equal((await get(`${server.url}/o`, same)).code, 0);
  assert.deepEqual(await readFile(same), Buffer.alloc(300_000, 1));
  assert.match(ranges[1] ?? '', /^bytes=\d+-299999$/);
  const changed = output();
  const { code, stderr } = await get(`${server.url}/o`, changed);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /the target is not what it was; starting over/);
  assert.deepEqual(await readFile(changed), Buffer.alloc(300_000, 2));
});

test('a redirect is followed without the Authorization that was meant for the first host', async (t) => {
  const seen: (string | undefined)[][] = [];
  const second = await serveObject(t, (request, response) => {
    seen.push([request.headers.authorization, request.headers.cookie, request.headers['x-mine'] as string]);
    response.end('there');
  });
  const first = await serveObject(t, (request, response) => {
    seen.push([request.headers.authorization, request.headers.cookie, request.headers['x-mine'] as string]);
    response.writeHead(302, { Location: `${second.url}/signed?sig=secret` }).end();
  });
  const file = output();
  const more = ['-H', 'Authorization: Basic abc', '-H', 'Cookie: a=b', '-H', 'X-Mine: 1'];
  const { code, stderr } = await get(`${first.url}/x`, file, more);
  assert.equal(code, 0, stderr);
  assert.equal(await readFile(file, 'utf8'), 'there');
  assert.deepEqual(seen, [
    ['Basic abc', 'a=b', '1'],
    [undefined, undefined, '1'],
  ]);
  assert.doesNotMatch(stderr, /secret|abc/);
});

test('a blob that is redirected to signed URLs, also when it breaks off', async () => {
  origin.redirect = { status: 307, maxUses: 1 };
  origin.fault({ match: { endpoint: 'cdn', times: 1 }, action: { resetAtByte: 2 ** 20 } });
  const file = output();
  const { code, stderr } = await get(url, file);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
});

test("the origin's refusal is told with its status, its words and a remedy, and is not tried again", async () => {
  const file = output();
  const missing = `${origin.url}/v2/app/blobs/sha256:${'1'.repeat(64)}`;
  const { code, stderr, json } = await get(missing, file, ['--json']);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /answered 404 \(BLOB_UNKNOWN.*\); check host, repository and digest.*\[origin-refused\]/,
  );
  assert.equal((json().error as { code: string }).code, 'origin-refused');
  assert.equal(origin.requests.length, 1);
  await assertNothing(file);
});

test('an address where nothing listens is 1 and says so', async () => {
  const file = output();
  const { code, stderr } = await get(`http://${nowhere}/x`, file);
  assert.equal(code, 1);
  assert.match(
    stderr,
    new RegExp(`${nowhere} cannot be reached: connection refused.*\\[origin-unreachable\\]`),
  );
  await assertNothing(file);
});

test('output that cannot be written is 1 and says why', async () => {
  await mkdir(folder.file('dir'), { recursive: true });
  for (const [file, why] of [
    [folder.file('missing', 'x'), /cannot be written: no such file or folder/],
    [folder.file('dir'), /is a folder; name a file/],
    [`${folder.file('dir')}/`, /is a folder; name a file/],
    ['/dev/null', /is no regular file; name a file/],
  ] as const) {
    const { code, stderr } = await get(url, file);
    assert.equal(code, 1, file);
    assert.match(stderr, why);
    assert.match(stderr, /\[output-failed\]/);
  }
  assert.equal(origin.requests.length, 0, 'before the origin is asked');
});

test('a link is followed, and the file that it points at is replaced', async () => {
  const real = output();
  const link = output();
  await writeFile(real, 'old');
  await symlink(real, link);
  assert.equal((await get(url, link)).code, 0);
  assert.deepEqual(await readFile(real), BYTES);
  assert.deepEqual(await readFile(link), BYTES);
});

test('-o is -O, and progress is told in lines unless it is not wanted', async () => {
  const file = output();
  const loud = await runCli(['get', url, '-o', file, '--node', nowhere]);
  assert.equal(loud.code, 0);
  assert.match(loud.stderr, /^sha256:[0-9a-f]+: begins \(3\.0 MiB\)$/m);
  assert.match(loud.stderr, /3\.0 MiB in .*\/s\) from the origin, directly; sha256:[0-9a-f]{64} verified$/m);
  const quiet = await get(url, file, ['--no-progress']);
  assert.doesNotMatch(quiet.stderr, /begins/);
});

test('token and basic logins: anonymous, from docker config, and refused', async (t) => {
  const config = await tempFolder(t);
  for (const auth of ['token', 'basic'] as const) {
    const registry = await startOrigin({ auth, users: { ann: 'hunter2' } });
    t.after(() => registry.close());
    const secret = registry.repository('secret', { readers: ['ann'] }).addBlob(Buffer.from('for ann'));
    const at = registry.url + secret.path;
    const refused = await get(at, output());
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /answered 401.*log in with `docker login`/);
    const login = Buffer.from('ann:hunter2').toString('base64');
    await writeFile(
      config.file('config.json'),
      JSON.stringify({ auths: { [registry.host]: { auth: login } } }),
    );
    await chmod(config.file('config.json'), 0o600);
    const file = output();
    const granted = await get(at, file, [], { env: { DOCKER_CONFIG: config.path } });
    assert.equal(granted.code, 0, granted.stderr);
    assert.equal(await readFile(file, 'utf8'), 'for ann');
    const byHeader =
      auth === 'basic'
        ? `Basic ${login}`
        : `Bearer ${registry.issueToken({ repository: 'secret', user: 'ann' })}`;
    assert.equal((await get(at, output(), ['-H', `Authorization: ${byHeader}`])).code, 0);
    if (auth === 'basic')
      assert.equal((await get(at.replace('http://', 'http://ann:hunter2@'), output())).code, 0);
    else {
      const open = registry.repository('open').addBlob(Buffer.from('for all'));
      assert.equal((await get(registry.url + open.path, output())).code, 0);
    }
    assert.doesNotMatch(granted.stderr + refused.stderr, /hunter2/);
  }
});

test('oci references: one layer, a layer by digest, several layers, an index', async () => {
  const repository = origin.repository('images/app');
  const layers = ['one', 'two'].map((text) => repository.addBlob(Buffer.from(text)));
  const config = repository.addBlob(Buffer.from('{}'));
  const image = (blobs: readonly TestBlob[]): object => ({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.size,
    },
    layers: blobs.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size,
    })),
  });
  const single = repository.addManifest(image(layers.slice(0, 1)), { tag: 'single' });
  repository.addManifest(image(layers), { tag: 'double' });
  const platform = { os: 'linux', architecture: { x64: 'amd64' }[process.arch as string] ?? process.arch };
  const other = repository.addManifest(image(layers.slice(1)));
  repository.addManifest(
    {
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [
        {
          mediaType: other.mediaType,
          digest: other.digest,
          size: other.size,
          platform: { os: 'plan9', architecture: 'mips' },
        },
        { mediaType: single.mediaType, digest: single.digest, size: single.size, platform },
      ],
    },
    { tag: 'index' },
  );
  const at = `oci://${origin.host}/images/app`;
  for (const reference of [':single', `@${single.digest}`, `@${layers[0]?.digest}`, ':index']) {
    const file = output();
    const { code, stderr, json } = await get(at + reference, file, ['--json']);
    assert.equal(code, 0, stderr);
    assert.equal(await readFile(file, 'utf8'), 'one', reference);
    assert.equal(json().verified, true);
  }
  const several = await get(`${at}:double`, output());
  assert.equal(several.code, 2);
  for (const layer of layers) assert.ok(several.stderr.includes(`${at}@${layer.digest}  3 B`));
  assert.equal((await get(`${at}:absent`, output())).code, 1);
});

test('nothing but what was asked for is left in the folder', async () => {
  const names = await readdir(folder.path);
  assert.deepEqual(
    names.filter((name) => name.includes('.partial')),
    [],
  );
});
