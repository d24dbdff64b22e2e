import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { type GetOptions, httpGet } from '../support/http-get.ts';
import { headerValues, seededBytes, startOrigin, type TestOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode, type TestNode } from './support/node.ts';

// Issue 3, item 8: what the origin would not give to a requester, the node does not give either, cold or warm.

const SIZE = 3_000_000;
const MODES = ['token', 'basic'] as const;
type Mode = (typeof MODES)[number];

interface Scene {
  readonly origin: TestOrigin;
  readonly node: TestNode;
  /** In team/private, which only alice may read. */
  readonly secret: { digest: string; path: string };
  authorization(user: 'alice' | 'bob', repository?: string): string;
  ask(path: string, options?: GetOptions): ReturnType<typeof httpGet>;
}

async function scene(t: TestContext, mode: Mode, set: readonly string[] = []): Promise<Scene> {
  const users = { alice: 'a-password', bob: 'b-password' };
  const origin = await startOrigin({ auth: mode, users });
  t.after(() => origin.close());
  const secret = origin
    .repository('team/private', { readers: ['alice'] })
    .addBlob({ size: SIZE, seed: 'secret' });
  origin.repository('team/public').addBlob({ size: 100, seed: 'public' });
  const folder = await tempFolder(t);
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify([{ host: origin.host, insecure: true }])}`,
    ...set,
  ]);
  t.after(() => node.stop());
  const authorization: Scene['authorization'] = (user, repository = 'team/private') =>
    mode === 'token'
      ? `Bearer ${origin.issueToken({ repository, user, actions: origin.auth.allows(user, repository, 'pull') ? ['pull'] : [] })}`
      : `Basic ${Buffer.from(`${user}:${users[user]}`).toString('base64')}`;
  const ask: Scene['ask'] = (path, options = {}) =>
    httpGet(`${node.url}${path}`, {
      ...options,
      headers: { 'x-dragonfly-registry': origin.url, ...options.headers },
    });
  return { origin, node, secret, authorization, ask };
}

/** The answer of the node must be that of the origin: status and challenge. */
async function sameAsOrigin(
  { origin, ask }: Scene,
  path: string,
  options: GetOptions,
  status: number,
): Promise<void> {
  const direct = await httpGet(`${origin.url}${path}`, options);
  const through = await ask(path, options);
  assert.equal(direct.status, status, `${options.method ?? 'GET'} ${path} at the origin`);
  assert.equal(through.status, status, `${options.method ?? 'GET'} ${path} at the node`);
  assert.deepEqual(
    headerValues(through.rawHeaders, 'www-authenticate'),
    headerValues(direct.rawHeaders, 'www-authenticate'),
  );
  assert.equal(through.header('x-damselfly-source'), undefined);
  assert.ok(through.bytes < 2000, 'an error document at most');
}

const FORMS: readonly (readonly [string, GetOptions])[] = [
  ['GET', {}],
  ['HEAD', { method: 'HEAD' }],
  ['a range', { headers: { range: 'bytes=1000-1999' } }],
  ['an open range', { headers: { range: 'bytes=5-' } }],
];

for (const mode of MODES) {
  for (const warm of [false, true]) {
    test(`${mode}, ${warm ? 'warm' : 'cold'}: nobody but alice gets the secret`, async (t) => {
      const here = await scene(t, mode);
      const { secret, authorization, ask } = here;
      if (warm) {
        const own = await ask(secret.path, { headers: { authorization: authorization('alice') } });
        assert.equal(own.status, 200);
        assert.ok(own.body.equals(seededBytes('secret', { start: 0, end: SIZE })));
      }
      const underPublic = `/v2/team/public/blobs/${secret.digest}`;
      for (const [form, options] of FORMS) {
        await t.test(`nobody, by ${form}`, () => sameAsOrigin(here, secret.path, options, 401));
        await t.test(`bob, by ${form}`, () => {
          const headers = { ...options.headers, authorization: authorization('bob') };
          return sameAsOrigin(here, secret.path, { ...options, headers }, mode === 'basic' ? 403 : 401);
        });
        await t.test(`under a public repository, by ${form}`, () => {
          const headers = { ...options.headers, authorization: authorization('bob', 'team/public') };
          return sameAsOrigin(here, underPublic, { ...options, headers }, 404);
        });
        if (mode === 'basic') continue;
        await t.test(`with a token for another repository, by ${form}`, () => {
          const headers = { ...options.headers, authorization: authorization('alice', 'team/public') };
          return sameAsOrigin(here, secret.path, { ...options, headers }, 401);
        });
      }
      const after = await ask(secret.path, {
        headers: { authorization: authorization('alice'), range: 'bytes=1000-1999' },
      });
      assert.equal(after.status, 206, 'who has the right still gets it');
      assert.ok(after.body.equals(seededBytes('secret', { start: 1000, end: 2000 })));
    });
  }
}

test('the same in the forward-proxy form', async (t) => {
  const here = await scene(t, 'token');
  const { origin, node, secret, authorization } = here;
  const get = (headers: Record<string, string>) =>
    httpGet(node.url, { target: `${origin.url}${secret.path}`, headers });
  assert.equal((await get({})).status, 401);
  const authorized = await get({ authorization: authorization('alice') });
  assert.equal(authorized.status, 200);
  assert.equal((await get({})).status, 401);
  assert.equal((await get({ authorization: authorization('bob') })).status, 401);
});

test('a renewed token costs one HEAD for many warm blobs', async (t) => {
  const { origin, authorization, ask } = await scene(t, 'token');
  const repository = origin.repository('team/private');
  const blobs = Array.from({ length: 8 }, (_, i) => repository.addBlob({ size: 50_000, seed: `blob ${i}` }));
  const old = authorization('alice');
  for (const { path } of blobs)
    assert.equal((await ask(path, { headers: { authorization: old } })).status, 200);
  await origin.idle();
  origin.reset();
  const renewed = authorization('alice');
  const answers = await Promise.all(
    blobs.map(({ path }) => ask(path, { headers: { authorization: renewed, range: 'bytes=0-99' } })),
  );
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([206]));
  await origin.idle();
  assert.deepEqual(
    origin.requests.map(({ method }) => method),
    ['HEAD'],
  );
});

test('the first asker without rights, or one that hangs up, does not disturb the others', async (t) => {
  const { origin, secret, authorization, ask } = await scene(t, 'token');
  origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { delayHeadMs: 100 } });
  const leaving = new AbortController();
  const authorized = { authorization: authorization('alice') };
  const asked = [
    ask(secret.path),
    ask(secret.path, { headers: authorized, signal: leaving.signal }).catch(() => undefined),
    ask(secret.path, { headers: authorized }),
    ask(secret.path, { headers: { ...authorized, range: 'bytes=0-9' } }),
  ] as const;
  leaving.abort();
  const [nobody, , whole, range] = await Promise.all(asked);
  assert.equal(nobody.status, 401);
  assert.equal(whole.status, 200);
  assert.ok(whole.body.equals(seededBytes('secret', { start: 0, end: SIZE })));
  assert.equal(range.status, 206);
});

for (const whenOriginDown of ['deny', 'allow'] as const) {
  test(`${whenOriginDown}: a dead origin and an expired right`, async (t) => {
    const here = await scene(t, 'basic', [`access.whenOriginDown=${whenOriginDown}`, 'access.ttl=1ms']);
    const { origin, secret, authorization, ask } = here;
    const headers = { authorization: authorization('alice') };
    assert.equal((await ask(secret.path, { headers })).status, 200);
    await origin.down();
    const known = await ask(secret.path, { headers });
    assert.equal(known.status, whenOriginDown === 'allow' ? 200 : 503);
    const others: Record<string, string>[] = [{}, { authorization: authorization('bob') }];
    for (const other of others) {
      assert.equal((await ask(secret.path, { headers: other })).status, 503);
    }
  });
}

test('within access.ttl a dead origin is not needed', async (t) => {
  const { origin, secret, authorization, ask } = await scene(t, 'basic');
  const headers = { authorization: authorization('alice') };
  assert.equal((await ask(secret.path, { headers })).status, 200);
  await origin.down();
  assert.equal((await ask(secret.path, { headers })).status, 200);
});

test('rights survive a restart', async (t) => {
  const folder = await tempFolder(t);
  const origin = await startOrigin({ auth: 'basic', users: { alice: 'x' } });
  t.after(() => origin.close());
  const blob = origin.repository('a', { readers: ['alice'] }).addBlob({ size: 5000, seed: 'b' });
  const set = [`origins=${JSON.stringify([{ host: origin.host, insecure: true }])}`];
  const headers = {
    'x-dragonfly-registry': origin.url,
    authorization: `Basic ${Buffer.from('alice:x').toString('base64')}`,
  };
  const before = await startNode(folder.file('cache'), set);
  assert.equal((await httpGet(`${before.url}${blob.path}`, { headers })).status, 200);
  await before.stop();
  await origin.idle();
  origin.reset();
  const after = await startNode(folder.file('cache'), set);
  t.after(() => after.stop());
  assert.equal((await httpGet(`${after.url}${blob.path}`, { headers })).status, 200);
  assert.equal(origin.requests.length, 0);
});

for (const accessMode of ['requester', 'node'] as const) {
  test(`access.mode ${accessMode}: a request without a credential`, async (t) => {
    const folder = await tempFolder(t);
    const file = folder.file('docker.json');
    const origin = await startOrigin({ auth: 'token', users: { alice: 'x' } });
    t.after(() => origin.close());
    const auth = Buffer.from('alice:x').toString('base64');
    await writeFile(file, JSON.stringify({ auths: { [origin.host]: { auth } } }), { mode: 0o600 });
    const blob = origin.repository('a', { readers: ['alice'] }).addBlob({ size: 5000, seed: 'b' });
    const node = await startNode(folder.file('cache'), [
      `origins=${JSON.stringify([{ host: origin.host, insecure: true, credentialsFile: file }])}`,
      `access.mode=${accessMode}`,
    ]);
    t.after(() => node.stop());
    for (let i = 0; i < 2; i++) {
      const answer = await httpGet(`${node.url}${blob.path}`, {
        headers: { 'x-dragonfly-registry': origin.url },
      });
      assert.equal(answer.status, accessMode === 'node' ? 200 : 401);
    }
    const wrong = await httpGet(`${node.url}${blob.path}`, {
      headers: { 'x-dragonfly-registry': origin.url, authorization: 'Bearer wrong' },
    });
    assert.equal(wrong.status, 401);
  });
}
