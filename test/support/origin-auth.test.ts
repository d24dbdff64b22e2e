import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { httpGet } from './http-get.ts';
import { startOrigin, type TestOrigin } from './origin.ts';

const USERS = { alice: 'wonder', bob: 'builder' };
const basic = (name: string, password: string) =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

function stock(origin: TestOrigin) {
  const open = origin.repository('lab/open').addBlob({ size: 10, seed: 'open' });
  const secret = origin
    .repository('lab/secret', { readers: ['alice'] })
    .addBlob({ size: 10, seed: 'secret' });
  const statusOf = async (path: string, authorization?: string) =>
    (await httpGet(origin.url + path, authorization === undefined ? {} : { headers: { authorization } }))
      .status;
  return { open, secret, statusOf };
}

async function tokenFor(origin: TestOrigin, query: string, authorization?: string): Promise<string> {
  const answer = await httpGet(`${origin.tokenUrl}?service=test-registry&${query}`, {
    headers: authorization === undefined ? {} : { authorization },
  });
  assert.equal(answer.status, 200);
  return `Bearer ${(answer.json() as { token: string }).token}`;
}

describe('rights at a test origin', () => {
  it('basic: the world, users and readers are told apart', async () => {
    await using origin = await startOrigin({ auth: 'basic', users: USERS });
    const { open, secret, statusOf } = stock(origin);
    assert.equal(await statusOf(open.path), 200);
    assert.equal(await statusOf(secret.path), 401);
    assert.equal(await statusOf(secret.path, basic('alice', 'wrong')), 401);
    assert.equal(await statusOf(secret.path, basic('bob', 'builder')), 403);
    assert.equal(await statusOf(secret.path, basic('alice', 'wonder')), 200);
    assert.equal(origin.requests.at(-1)?.user, 'alice');
    const challenge = await httpGet(origin.url + secret.path);
    assert.equal(challenge.header('www-authenticate'), 'Basic realm="test-registry"');
  });

  it('token: challenge, token endpoint, and a token that opens one repository only', async () => {
    await using origin = await startOrigin({ auth: 'token', users: USERS, separateTokenServer: true });
    const { open, secret, statusOf } = stock(origin);
    const challenge = await httpGet(origin.url + secret.path);
    assert.equal(challenge.status, 401);
    assert.equal(
      challenge.header('www-authenticate'),
      `Bearer realm="${origin.tokenUrl}",service="test-registry",scope="repository:lab/secret:pull"`,
    );
    const scope = 'scope=repository:lab/secret:pull';
    const alice = await tokenFor(origin, scope, basic('alice', 'wonder'));
    const bob = await tokenFor(origin, scope, basic('bob', 'builder'));
    const nobody = await tokenFor(origin, 'scope=repository:lab/open:pull');
    assert.equal(await statusOf(secret.path, alice), 200);
    assert.equal(await statusOf(open.path, alice), 401);
    assert.equal(await statusOf(secret.path, bob), 401);
    assert.equal(await statusOf(open.path), 401, 'an anonymous token is needed too');
    assert.equal(await statusOf(open.path, nobody), 200);
    assert.equal(await statusOf(secret.path, nobody), 401);
    assert.equal(await statusOf('/v2/', alice), 200);
    const refused = await httpGet(origin.url + secret.path, { headers: { authorization: bob } });
    assert.match(refused.header('www-authenticate') ?? '', /error="insufficient_scope"$/);
    assert.equal(
      (await httpGet(`${origin.tokenUrl}?${scope}`, { headers: { authorization: basic('bob', 'no') } }))
        .status,
      401,
    );
  });

  it('token: query password, form, refresh token, several scopes', async () => {
    await using origin = await startOrigin({ auth: 'token', users: USERS });
    const { open, secret, statusOf } = stock(origin);
    const scopes = 'scope=repository:lab/secret:pull&scope=repository:lab/open:pull,push';
    const byQuery = await tokenFor(origin, `${scopes}&grant_type=password&username=alice&password=wonder`);
    assert.deepEqual([await statusOf(secret.path, byQuery), await statusOf(open.path, byQuery)], [200, 200]);
    const post = (form: string) =>
      httpGet(origin.tokenUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: form,
      });
    const first = (
      await post(`${scopes}&grant_type=password&username=alice&password=wonder&access_type=offline`)
    ).json() as { access_token: string; refresh_token: string; expires_in: number };
    assert.equal(first.expires_in, 300);
    assert.equal(await statusOf(secret.path, `Bearer ${first.access_token}`), 200);
    const again = (
      await post(`${scopes}&grant_type=refresh_token&refresh_token=${first.refresh_token}`)
    ).json() as { token: string };
    assert.equal(await statusOf(secret.path, `Bearer ${again.token}`), 200);
    assert.equal((await post('grant_type=password&username=alice&password=no')).status, 401);
  });

  it('tokens end: by lifetime, all at once, and made-up ones were never good', async () => {
    await using origin = await startOrigin({ auth: 'token', users: USERS });
    const { secret, statusOf } = stock(origin);
    const good = `Bearer ${origin.issueToken({ repository: 'lab/secret', user: 'alice' })}`;
    const expired = `Bearer ${origin.issueToken({ repository: 'lab/secret', user: 'alice', lifetimeMs: 0 })}`;
    assert.equal(await statusOf(secret.path, good), 200);
    assert.equal(await statusOf(secret.path, expired), 401);
    assert.equal(await statusOf(secret.path, 'Bearer forged'), 401);
    origin.auth.expireTokens();
    const late = await httpGet(origin.url + secret.path, { headers: { authorization: good } });
    assert.equal(late.status, 401);
    assert.match(late.header('www-authenticate') ?? '', /error="invalid_token"$/);
  });

  it('hides or denies instead of asking again, when told to', async () => {
    for (const refusal of [403, 404] as const) {
      await using origin = await startOrigin({ auth: 'token', users: USERS, refusal });
      const { secret, statusOf } = stock(origin);
      const bob = await tokenFor(origin, 'scope=repository:lab/secret:pull', basic('bob', 'builder'));
      assert.equal(await statusOf(secret.path, bob), refusal);
    }
  });

  it('pushing needs the right to push', async () => {
    await using origin = await startOrigin({ auth: 'token', users: USERS });
    origin.repository('lab/app', { readers: 'everyone', writers: ['alice'] });
    const push = async (authorization: string) =>
      (
        await httpGet(`${origin.url}/v2/lab/app/blobs/uploads/`, {
          method: 'POST',
          body: '',
          headers: { authorization },
        })
      ).status;
    const scope = 'scope=repository:lab/app:pull,push';
    assert.equal(await push(await tokenFor(origin, scope, basic('alice', 'wonder'))), 202);
    assert.equal(await push(await tokenFor(origin, scope, basic('bob', 'builder'))), 401);
  });
});
