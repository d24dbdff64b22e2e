import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { BYTES, getLab, left, serveObject } from './get-lab.ts';

/** What an origin may answer besides bytes: redirects, refusals, challenges. */
const lab = getLab();

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
  const file = lab.output();
  const more = ['-H', 'Authorization: Basic abc', '-H', 'Cookie: a=b', '-H', 'X-Mine: 1'];
  const { code, stderr } = await lab.get(`${first.url}/x`, file, more);
  assert.equal(code, 0, stderr);
  assert.equal(await readFile(file, 'utf8'), 'there');
  assert.deepEqual(seen, [
    ['Basic abc', 'a=b', '1'],
    [undefined, undefined, '1'],
  ]);
  assert.doesNotMatch(stderr, /secret|abc/);
});

test('a blob that is redirected to signed URLs, also when it breaks off', async () => {
  lab.origin.redirect = { status: 307, maxUses: 1 };
  lab.origin.fault({ match: { endpoint: 'cdn', times: 1 }, action: { resetAtByte: 2 ** 20 } });
  const file = lab.output();
  const { code, stderr } = await lab.get(lab.url, file);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
});

test("the origin's refusal is told with its status, its words and a remedy, and is not tried again", async () => {
  const file = lab.output();
  const missing = `${lab.origin.url}/v2/app/blobs/sha256:${'1'.repeat(64)}`;
  const { code, stderr, json } = await lab.get(missing, file, ['--json']);
  assert.equal(code, 1);
  assert.match(
    stderr,
    /answered 404 \(BLOB_UNKNOWN.*\); check host, repository and digest.*\[origin-refused\]/,
  );
  assert.equal((json().error as { code: string }).code, 'origin-refused');
  assert.equal(lab.origin.requests.length, 1);
  assert.deepEqual(await left(file), []);
});

test('an address where nothing listens is 1 and says so', async () => {
  const file = lab.output();
  const { code, stderr } = await lab.get(`http://${lab.nowhere}/x`, file);
  assert.equal(code, 1);
  assert.match(
    stderr,
    new RegExp(`${lab.nowhere} cannot be reached: connection refused.*\\[origin-unreachable\\]`),
  );
  assert.deepEqual(await left(file), []);
});

test('token and basic logins: anonymous, from docker config, and refused', async (t) => {
  const config = await tempFolder(t);
  for (const auth of ['token', 'basic'] as const) {
    const registry = await startOrigin({ auth, users: { ann: 'hunter2' } });
    t.after(() => registry.close());
    const secret = registry.repository('secret', { readers: ['ann'] }).addBlob(Buffer.from('for ann'));
    const at = registry.url + secret.path;
    const refused = await lab.get(at, lab.output());
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /answered 401.*log in with `docker login`/);
    const login = Buffer.from('ann:hunter2').toString('base64');
    await writeFile(
      config.file('config.json'),
      JSON.stringify({ auths: { [registry.host]: { auth: login } } }),
    );
    await chmod(config.file('config.json'), 0o600);
    const file = lab.output();
    const granted = await lab.get(at, file, [], { env: { DOCKER_CONFIG: config.path } });
    assert.equal(granted.code, 0, granted.stderr);
    assert.equal(await readFile(file, 'utf8'), 'for ann');
    const byHeader =
      auth === 'basic'
        ? `Basic ${login}`
        : `Bearer ${registry.issueToken({ repository: 'secret', user: 'ann' })}`;
    assert.equal((await lab.get(at, lab.output(), ['-H', `Authorization: ${byHeader}`])).code, 0);
    if (auth === 'basic')
      assert.equal((await lab.get(at.replace('http://', 'http://ann:hunter2@'), lab.output())).code, 0);
    else {
      const open = registry.repository('open').addBlob(Buffer.from('for all'));
      assert.equal((await lab.get(registry.url + open.path, lab.output())).code, 0);
    }
    assert.doesNotMatch(granted.stderr + refused.stderr, /hunter2/);
  }
});
