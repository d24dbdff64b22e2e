import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type TestContext, test } from 'node:test';
import { hasCode, OriginRefusal } from '../../src/errors.ts';
import { listening } from '../support/listening.ts';
import { type OriginOptions, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { entry, NEVER, REPOSITORY, rig } from './support.ts';

const LOGIN = Buffer.from('ann:pw').toString('base64');

/** A private repository of ann's, and a node that has her login in a docker config.json. */
async function setUp(t: TestContext, options: OriginOptions = {}, auth: object | null = { auth: LOGIN }) {
  const folder = await tempFolder(t);
  const credentialsFile = folder.file('config.json');
  const origin = await startOrigin({ auth: 'token', users: { ann: 'pw' }, ...options });
  if (auth !== null) await writeFile(credentialsFile, JSON.stringify({ auths: { [origin.host]: auth } }));
  const repository = origin.repository(REPOSITORY, { readers: ['ann'] });
  const blob = repository.addBlob({ size: 100, seed: 1 });
  const hosts = new Set([origin.host, new URL(origin.tokenUrl).host]);
  const parts = rig(origin, {
    listing: {
      origins: [...hosts].map((host) =>
        entry(host, { insecure: true, ...(auth === null ? {} : { credentialsFile }) }),
      ),
    },
  });
  t.after(async () => {
    await parts.close();
    await origin.close();
  });
  const credential = (name = REPOSITORY, signal = NEVER) =>
    parts.credentials.credentialFor(origin.id, name, { signal });
  return { ...parts, origin, blob, credential, credentialsFile, folder };
}

test('a token challenge is answered with the login, once for many reads', async (t) => {
  const parts = await setUp(t);
  const all = await Promise.all([1, 2, 3].map(() => parts.credential()));
  all.push(await parts.credential());
  const [first] = all;
  assert.ok(first && all.every((one) => one === first));
  assert.match(first.headers().authorization ?? '', /^Bearer /);
  assert.equal(parts.origin.find({ endpoint: 'base' }).length, 1);
  const [token, ...more] = parts.origin.find({ endpoint: 'token' });
  assert.equal(more.length, 0);
  assert.equal(token?.user, 'ann');
  assert.match(token?.url ?? '', /scope=repository%3Alab%2Fimage%3Apull/);
  assert.doesNotMatch(token?.url ?? '', /pw|ann/);
  const read = await parts.open(
    parts.blob.digest,
    { start: 0, end: 10 },
    { upstream: { ...parts.upstream, credential: first } },
  );
  read.close();
});

test('each repository has a token of its own, under one challenge', async (t) => {
  const parts = await setUp(t);
  const one = await parts.credential();
  const two = await parts.credential('lab/other');
  assert.notEqual(one.secret(), two.secret());
  assert.deepEqual(
    [parts.origin.find({ endpoint: 'base' }).length, parts.origin.find({ endpoint: 'token' }).length],
    [1, 2],
  );
});

test('a token that ends is fetched anew', async (t) => {
  const parts = await setUp(t, { tokenLifetimeMs: 4_000 });
  const one = await parts.credential();
  const two = await parts.credential();
  assert.notEqual(one.secret(), two.secret(), 'less than the margin is left of it from the start');
});

test('without a login the token is an anonymous one', async (t) => {
  const parts = await setUp(t, {}, null);
  assert.match((await parts.credential()).headers().authorization ?? '', /^Bearer /);
  assert.equal(parts.origin.find({ endpoint: 'token' })[0]?.authorization, 'none');
});

test('an identity token is traded by a form', async (t) => {
  const parts = await setUp(t);
  const refresh = parts.origin.auth.issueRefresh('ann');
  await writeFile(
    parts.credentialsFile,
    JSON.stringify({ auths: { [parts.origin.host]: { identitytoken: refresh } } }),
  );
  assert.match((await parts.credential()).headers().authorization ?? '', /^Bearer /);
  const [request] = parts.origin.find({ endpoint: 'token' });
  assert.deepEqual([request?.method, request?.user, request?.url], ['POST', 'ann', '/token']);
});

test('an endpoint that takes no GET is asked by a form', async (t) => {
  const parts = await setUp(t);
  parts.origin.fault({ match: { endpoint: 'token', method: 'GET' }, action: { status: 405 } });
  assert.match((await parts.credential()).headers().authorization ?? '', /^Bearer /);
  assert.deepEqual(
    parts.origin.find({ endpoint: 'token' }).map(({ method, user }) => [method, user]),
    [
      ['GET', undefined],
      ['POST', 'ann'],
    ],
  );
});

test('a registry token is used as it is, Basic where it is asked for, nothing where nothing is', async (t) => {
  const bearer = await setUp(t, {}, { registrytoken: 'given' });
  assert.deepEqual((await bearer.credential()).headers(), { authorization: 'Bearer given' });
  const basic = await setUp(t, { auth: 'basic' });
  assert.deepEqual((await basic.credential()).headers(), { authorization: `Basic ${LOGIN}` });
  const open = await setUp(t, { auth: 'anonymous' });
  assert.ok((await open.credential()).isAnonymous);
});

test('a wrong password is told by the status, and not remembered', async (t) => {
  const parts = await setUp(t, {}, { auth: Buffer.from('ann:wrong-secret').toString('base64') });
  await assert.rejects(
    parts.credential(),
    (error: Error) =>
      hasCode(error, 'origin-broken') &&
      error.facts.originStatus === 401 &&
      !error.message.includes('wrong-secret'),
  );
  await writeFile(parts.credentialsFile, JSON.stringify({ auths: { [parts.origin.host]: { auth: LOGIN } } }));
  assert.match((await parts.credential()).headers().authorization ?? '', /^Bearer /);
});

test("a registry that is open at /v2/ but not in a repository is asked by the refusal's own challenge", async (t) => {
  const parts = await setUp(t);
  parts.origin.fault({ match: { endpoint: 'base' }, action: { status: 200, body: '{}' } });
  const nothing = await parts.credential();
  assert.ok(nothing.isAnonymous);
  const refusal = await parts
    .open(parts.blob.digest, { start: 0, end: 1 }, { upstream: { ...parts.upstream, credential: nothing } })
    .catch((error) => error);
  assert.ok(refusal instanceof OriginRefusal);
  parts.credentials.refused(parts.origin.id, REPOSITORY, refusal);
  assert.match((await parts.credential()).headers().authorization ?? '', /^Bearer /);
});

test('token endpoints obey the SSRF rule', async (t) => {
  const origin = await startOrigin({ auth: 'token', separateTokenServer: true });
  const parts = rig(origin, { listing: { origins: [entry(origin.host, { insecure: true })] } });
  t.after(async () => {
    await parts.close();
    await origin.close();
  });
  await assert.rejects(parts.credentials.credentialFor(origin.id, REPOSITORY, { signal: NEVER }), (error) =>
    hasCode(error, 'target-forbidden'),
  );
  assert.equal(origin.find({ endpoint: 'token' }).length, 0);
});

test('a login never goes to a realm in plain http that policy does not call plain', async (t) => {
  const folder = await tempFolder(t);
  const seen: (string | undefined)[] = [];
  const realm = await listening(
    createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify({ token: 'anonymous', expires_in: 300 }));
    }),
  );
  const registry = await listening(
    createServer((_request, response) => {
      response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${realm.url}/token",service="x"` }).end();
    }),
  );
  const credentialsFile = folder.file('config.json');
  await writeFile(credentialsFile, JSON.stringify({ auths: { [registry.host]: { auth: LOGIN } } }));
  const origin = await startOrigin();
  t.after(async () => {
    await origin.close();
    await realm.close();
    await registry.close();
  });
  for (const insecure of [false, true]) {
    await using parts = rig(origin, {
      listing: {
        origins: [entry(registry.host, { insecure: true, credentialsFile }), entry(realm.host, { insecure })],
      },
    });
    await parts.credentials.credentialFor(parts.directory.resolve(registry.host), 'a', { signal: NEVER });
  }
  assert.deepEqual(seen, [undefined, `Basic ${LOGIN}`]);
});

test('a waiter that gives up leaves the others their token', async (t) => {
  const parts = await setUp(t);
  const fault = parts.origin.fault({ match: { endpoint: 'token' }, action: { neverAnswer: true } });
  const abort = new AbortController();
  const leaving = parts.credential(REPOSITORY, abort.signal);
  const staying = parts.credential();
  abort.abort(new Error('gone'));
  await assert.rejects(leaving, /gone/);
  await assert.rejects(parts.credential(REPOSITORY, abort.signal), /gone/);
  fault.release();
  parts.origin.clearFaults();
  assert.match((await staying).headers().authorization ?? '', /^Bearer /);
});

test('nonsense of a token endpoint is a broken origin, without what it said', async (t) => {
  const parts = await setUp(t);
  for (const body of ['secret-token', '{"token": 5}', '{}', '']) {
    parts.origin.clearFaults();
    parts.origin.fault({ match: { endpoint: 'token' }, action: { status: 200, body } });
    await assert.rejects(
      parts.credential(),
      (error: Error) =>
        hasCode(error, 'origin-broken') && !`${error.message}${error.stack}`.includes('secret-token'),
      body,
    );
  }
});

test('an origin that is down has no word', async (t) => {
  const parts = await setUp(t);
  await parts.origin.down();
  await assert.rejects(parts.credential(), (error) => hasCode(error, 'origin-unreachable'));
  await parts.origin.up();
  assert.match((await parts.credential()).headers().authorization ?? '', /^Bearer /);
});
