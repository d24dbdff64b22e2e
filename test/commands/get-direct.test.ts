import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { BYTES, exists, getLab, left, SIZE, serveObject } from './get-lab.ts';
import { runCli } from './run-cli.ts';

/** Downloads straight from an origin, with no node running: what is written, and what is reported. */
const lab = getLab();

test('a blob is downloaded, checked against the digest of its URL, and reported', async () => {
  const file = lab.output();
  const { code, stderr, json } = await lab.get(lab.url, file, ['--json']);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
  const { seconds, ...document } = json();
  assert.equal(typeof seconds, 'number');
  assert.deepEqual(document, {
    url: lab.url,
    output: file,
    bytes: SIZE,
    resumedBytes: 0,
    range: null,
    digest: lab.blob.digest,
    verified: true,
    source: 'origin',
    through: 'direct',
  });
  assert.match(
    stderr,
    new RegExp(`the node at ${lab.nowhere} cannot be asked \\(connection refused\\); going on directly`),
  );
  assert.equal(lab.origin.requests.length, 1);
  assert.equal(lab.origin.requests[0]?.range, undefined);
  assert.equal(await exists(`${file}.partial`), false);
  assert.equal(await exists(`${file}.partial.state`), false);
});

test('wrong bytes: 1, and nothing is left; an old file stays', async () => {
  const file = lab.output();
  await writeFile(file, 'old');
  lab.origin.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 7 } });
  const { code, stderr } = await lab.get(lab.url, file);
  assert.equal(code, 1);
  assert.match(stderr, /nothing was kept.*\[digest-mismatch\]/);
  assert.equal(await readFile(file, 'utf8'), 'old');
  assert.equal(await exists(`${file}.partial`), false);
  const fresh = lab.output();
  assert.equal((await lab.get(lab.url, fresh)).code, 1);
  assert.deepEqual(await left(fresh), []);
});

test('a digest flag that the URL contradicts, or that the bytes do not have, is 1', async (t) => {
  const wrong = `sha256:${'0'.repeat(64)}`;
  const file = lab.output();
  const { code, json } = await lab.get(lab.url, file, ['--digest', wrong, '--json']);
  assert.equal(code, 1);
  assert.equal((json().error as { code: string }).code, 'digest-mismatch');
  assert.equal(lab.origin.requests.length, 0);
  const server = await serveObject(t, (_, response) => response.end('hello'));
  assert.equal((await lab.get(`${server.url}/x`, file, ['--digest', wrong])).code, 1);
  assert.deepEqual(await left(file), []);
  const right = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
  assert.equal((await lab.get(`${server.url}/x`, file, ['--digest', right])).code, 0);
});

test('a range is written and reported as such', async () => {
  const file = lab.output();
  const { code, stderr, json } = await lab.get(lab.url, file, ['--range', '1000-1999', '--json']);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES.subarray(1000, 2000));
  const { bytes, range, verified } = json();
  assert.deepEqual({ bytes, range, verified }, { bytes: 1000, range: '1000-1999', verified: false });
});

test('a range past the end is 1 and says how long the blob is', async () => {
  const file = lab.output();
  const { code, stderr } = await lab.get(lab.url, file, ['--range', `${SIZE}-`]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`past the end: it has ${SIZE} bytes.*\\[range-not-satisfiable\\]`));
  assert.deepEqual(await left(file), []);
});

test('an empty blob', async () => {
  const empty = lab.origin.repository('app').addBlob(new Uint8Array());
  const file = lab.output();
  assert.equal((await lab.get(lab.origin.url + empty.path, file)).code, 0);
  assert.equal((await readFile(file)).length, 0);
});

test('output that cannot be written is 1 and says why', async () => {
  await mkdir(lab.folder.file('dir'), { recursive: true });
  for (const [file, why] of [
    [lab.folder.file('missing', 'x'), /cannot be written: no such file or folder/],
    [lab.folder.file('dir'), /is a folder; name a file/],
    [`${lab.folder.file('dir')}/`, /is a folder; name a file/],
    ['/dev/null', /is no regular file; name a file/],
  ] as const) {
    const { code, stderr } = await lab.get(lab.url, file);
    assert.equal(code, 1, file);
    assert.match(stderr, why);
    assert.match(stderr, /\[output-failed\]/);
  }
  assert.equal(lab.origin.requests.length, 0, 'before the origin is asked');
});

test('a link is followed, and the file that it points at is replaced', async () => {
  const real = lab.output();
  const link = lab.output();
  await writeFile(real, 'old');
  await symlink(real, link);
  assert.equal((await lab.get(lab.url, link)).code, 0);
  assert.deepEqual(await readFile(real), BYTES);
  assert.deepEqual(await readFile(link), BYTES);
});

test('-o is -O, and progress is told in lines unless it is not wanted', async () => {
  const file = lab.output();
  const loud = await runCli(['get', lab.url, '-o', file, '--node', lab.nowhere]);
  assert.equal(loud.code, 0);
  assert.match(loud.stderr, /^sha256:[0-9a-f]+: begins \(3\.0 MiB\)$/m);
  assert.match(loud.stderr, /3\.0 MiB in .*\/s\) from the origin, directly; sha256:[0-9a-f]{64} verified$/m);
  const quiet = await lab.get(lab.url, file, ['--no-progress']);
  assert.doesNotMatch(quiet.stderr, /begins/);
});
