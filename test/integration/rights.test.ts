import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';
import { headerValues, type OriginOptions, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { startNode, type TestNode } from './support/node.ts';
import { listing, type Setup, setup } from './support/setup.ts';

const MIB = 1 << 20;
const USERS = { alice: 'a-secret', bob: 'b-secret' };
const FORMS = ['mirror', 'absolute'] as const;
const WAYS = [
  { name: 'GET', method: 'GET', headers: {} },
  { name: 'a range', method: 'GET', headers: { Range: 'bytes=100-299' } },
  { name: 'an open range', method: 'GET', headers: { Range: 'bytes=5-' } },
  { name: 'HEAD', method: 'HEAD', headers: {} },
] as const;
const NEVER_ON_A_REFUSAL = [
  'x-damselfly-source',
  'x-dragonfly-task-download-finished',
  'x-dragonfly-task-id',
];

interface Asking {
  readonly who: string;
  readonly path: string;
  readonly authorization: string | undefined;
}

interface Lab extends Setup {
  readonly secret: TestBlob;
  /** How the owner reads the blob. */
  readonly owner: Asking;
  readonly strangers: readonly Asking[];
}

const basic = (user: keyof typeof USERS, password: string = USERS[user]): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

async function lab(
  t: Parameters<typeof setup>[0],
  auth: NonNullable<OriginOptions['auth']>,
  more: { readonly refusal?: 401 | 403 | 404; readonly set?: readonly string[] } = {},
): Promise<Lab> {
  const made = await setup(t, {
    origin: { auth, users: USERS, ...(more.refusal === undefined ? {} : { refusal: more.refusal }) },
    ...(more.set === undefined ? {} : { set: more.set }),
  });
  const { origin } = made;
  const closed = origin.repository('team/private', auth === 'anonymous' ? {} : { readers: ['alice'] });
  const secret = closed.addBlob({ size: 3 * MIB + 5, seed: 'secret' });
  origin.repository('lab/public').addBlob({ size: 1000, seed: 'public' });
  origin.repository('team/bobs', auth === 'anonymous' ? {} : { readers: ['bob'] });
  const underPublic = `/v2/lab/public/blobs/${secret.digest}`;
  const underUnknown = `/v2/no/such/blobs/${secret.digest}`;
  const token = (repository: string, user?: string): string | undefined => {
    if (auth === 'anonymous') return undefined;
    if (auth === 'basic') return user === undefined ? undefined : basic(user as keyof typeof USERS);
    return `Bearer ${origin.issueToken({ repository, ...(user === undefined ? {} : { user }) })}`;
  };
  const owner = { who: 'alice', path: secret.path, authorization: token('team/private', 'alice') };
  const strangers: Asking[] = [
    {
      who: 'alice, under the public repository',
      path: underPublic,
      authorization: token('lab/public', 'alice'),
    },
    { who: 'nobody, under the public repository', path: underPublic, authorization: undefined },
    {
      who: 'alice, under an unknown repository',
      path: underUnknown,
      authorization: token('no/such', 'alice'),
    },
  ];
  if (auth !== 'anonymous') {
    strangers.push(
      { who: 'nobody', path: secret.path, authorization: undefined },
      { who: 'bob', path: secret.path, authorization: token('team/bobs', 'bob') },
      {
        who: 'a forger',
        path: secret.path,
        authorization: auth === 'basic' ? basic('alice', 'guess') : 'Bearer made-up',
      },
    );
  }
  if (auth === 'token') {
    strangers.push({
      who: "alice with a token for bob's repository",
      path: secret.path,
      authorization: token('team/bobs', 'alice'),
    });
  }
  return { ...made, secret, owner, strangers };
}

function ask(
  to: Pick<TestNode, 'url'>,
  origin: TestOrigin,
  form: (typeof FORMS)[number] | 'direct',
  { path, authorization }: Asking,
  options: Parameters<typeof httpGet>[1] = {},
): Promise<HttpAnswer> {
  const headers = {
    ...(options.headers as Record<string, string> | undefined),
    ...(authorization === undefined ? {} : { Authorization: authorization }),
    ...(form === 'absolute' ? { Host: origin.host } : {}),
  };
  const base = form === 'direct' ? origin.url : to.url;
  return httpGet(base + path, {
    ...options,
    headers,
    ...(form === 'absolute' ? { target: origin.url + path } : {}),
  });
}

function assertSameRefusal(what: string, answer: HttpAnswer, right: HttpAnswer): void {
  assert.ok(
    right.status >= 400 && right.status < 500,
    `${what}: the test wants a refusal, not ${right.status}`,
  );
  assert.equal(answer.status, right.status, what);
  assert.deepEqual(
    headerValues(answer.rawHeaders, 'www-authenticate'),
    headerValues(right.rawHeaders, 'www-authenticate'),
    what,
  );
  assert.equal(answer.body.toString(), right.body.toString(), what);
  assert.ok(answer.complete, what);
  for (const name of NEVER_ON_A_REFUSAL) assert.equal(answer.header(name), undefined, `${what}: ${name}`);
}

const LABS = [
  { auth: 'token', refusal: 401 },
  { auth: 'token', refusal: 403 },
  { auth: 'token', refusal: 404 },
  { auth: 'basic', refusal: 403 },
  { auth: 'anonymous', refusal: 404 },
] as const;

describe('rights on a hit', () => {
  for (const { auth, refusal } of LABS) {
    it(`8.16 ${auth} origin that refuses by ${refusal}: who may not read gets the origin's own answer`, async (t) => {
      const made = await lab(t, auth, { refusal });
      const { origin, node, owner, strangers, secret } = made;
      const refuseAll = async (when: string): Promise<void> => {
        for (const form of FORMS) {
          for (const way of WAYS) {
            for (const stranger of strangers) {
              const what = `${when}, ${form}, ${way.name}, ${stranger.who}`;
              const right = await ask(node, origin, 'direct', stranger, way);
              assertSameRefusal(what, await ask(node, origin, form, stranger, way), right);
            }
          }
        }
      };
      await refuseAll('cold');
      for (const form of FORMS) {
        const answer = await ask(node, origin, form, owner);
        assert.equal(answer.status, 200, form);
        assert.equal(answer.bytes, secret.size);
      }
      await refuseAll('warm');
      origin.reset();
      const again = await ask(node, origin, 'mirror', owner, { headers: { Range: 'bytes=0-9' } });
      assert.equal(again.status, 206);
      assert.deepEqual(origin.requests, [], 'refusals of others must not cost the owner a question');
    });
  }

  it('a first asker without rights does not disturb those who wait with it', async (t) => {
    const { origin, node, owner, strangers, secret } = await lab(t, 'token');
    origin.fault({ match: { endpoint: 'blob' }, action: { delayHeadMs: 200 } });
    const nobody = strangers.find(({ who }) => who === 'nobody');
    assert.ok(nobody);
    const asking = [nobody, owner, owner, nobody, owner];
    const answers = await Promise.all(asking.map((one) => ask(node, origin, 'mirror', one)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [401, 200, 200, 401, 200],
    );
    for (const [i, answer] of answers.entries())
      if (asking[i] === owner) assert.equal(answer.bytes, secret.size);
  });

  it('a first asker that hangs up does not disturb those who wait with it', async (t) => {
    const { origin, node, owner, secret } = await lab(t, 'token');
    const fault = origin.fault({ match: { endpoint: 'blob', nth: 1 }, action: { delayHeadMs: 400 } });
    const hangUp = new AbortController();
    const first = ask(node, origin, 'mirror', owner, { signal: hangUp.signal }).catch(
      (error: Error) => error,
    );
    await eventually(() => fault.hits === 1);
    const others = [1, 2, 3].map(() =>
      ask(node, origin, 'mirror', owner, { headers: { Range: 'bytes=0-99999' } }),
    );
    await sleep(50);
    hangUp.abort();
    assert.ok((await first) instanceof Error);
    for (const answer of await Promise.all(others)) {
      assert.equal(answer.status, 206);
      assert.equal(answer.bytes, 100_000);
    }
    const whole = await ask(node, origin, 'mirror', owner);
    assert.equal(whole.bytes, secret.size);
  });

  it('a token that expires in mid-blob: the credential of another reader carries both on', async (t) => {
    const { origin, node } = await lab(t, 'token');
    const big = origin.repository('team/private').addBlob({ size: 40 * MIB, seed: 'expires' });
    const token = (): string => `Bearer ${origin.issueToken({ repository: 'team/private', user: 'alice' })}`;
    const reader = (): Asking => ({ who: 'alice', path: big.path, authorization: token() });
    origin.bytesPerSecond = 16 * MIB;
    const first = ask(node, origin, 'mirror', reader(), { timeoutMs: 60_000 });
    await eventually(() => origin.bytesSent() > 4 * MIB);
    origin.auth.expireTokens();
    const second = ask(node, origin, 'mirror', reader(), { timeoutMs: 60_000 });
    for (const answer of await Promise.all([first, second])) {
      assert.equal(answer.status, 200);
      assert.ok(answer.complete, `cut after ${answer.bytes} bytes: ${answer.failure}`);
      assert.equal(answer.bytes, big.size);
    }
  });

  it('a token that expires in mid-blob with nobody else there: a reset, never a short clean end', async (t) => {
    const { origin, node } = await lab(t, 'token');
    const big = origin.repository('team/private').addBlob({ size: 40 * MIB, seed: 'expires alone' });
    origin.bytesPerSecond = 16 * MIB;
    const authorization = `Bearer ${origin.issueToken({ repository: 'team/private', user: 'alice' })}`;
    const asking = ask(
      node,
      origin,
      'mirror',
      { who: 'alice', path: big.path, authorization },
      { timeoutMs: 60_000 },
    );
    await eventually(() => origin.bytesSent() > 2 * MIB);
    origin.auth.expireTokens();
    const answer = await asking;
    assert.equal(answer.status, 200);
    assert.equal(answer.complete, false);
    assert.equal(answer.failure, 'ECONNRESET');
  });

  it('a signed URL that the owner was given is no right of anybody else', async (t) => {
    const { origin, node } = await lab(t, 'token');
    origin.redirect = { status: 307 };
    const big = origin.repository('team/private').addBlob({ size: 40 * MIB, seed: 'signed' });
    const authorization = `Bearer ${origin.issueToken({ repository: 'team/private', user: 'alice' })}`;
    const first = await ask(
      node,
      origin,
      'mirror',
      { who: 'alice', path: big.path, authorization },
      { headers: { Range: 'bytes=0-99' } },
    );
    assert.equal(first.status, 206);
    for (const [index, forged] of [undefined, 'Bearer made-up'].entries()) {
      const stranger = { who: `stranger ${index}`, path: big.path, authorization: forged };
      // A piece that is not on the node: the read itself is the question.
      const missing = { headers: { Range: `bytes=${(20 + index) * MIB}-${(20 + index) * MIB + 99}` } };
      for (const way of [missing, {}]) {
        const right = await ask(node, origin, 'direct', stranger, way);
        const answer = await ask(node, origin, 'mirror', stranger, way);
        assertSameRefusal(`${stranger.who} ${JSON.stringify(way)}`, answer, right);
      }
    }
  });

  it('are still known after a restart', async (t) => {
    const { origin, node, owner, secret, dir, strangers } = await lab(t, 'token');
    assert.equal((await ask(node, origin, 'mirror', owner)).bytes, secret.size);
    await node.stop();
    origin.reset();
    await using again = await startNode(dir, listing(origin));
    const answer = await ask(again, origin, 'mirror', owner);
    assert.equal(answer.status, 200);
    assert.equal(answer.bytes, secret.size);
    assert.equal(answer.header('x-damselfly-source'), 'disk');
    assert.deepEqual(origin.requests, [], 'neither the right nor the bytes may cost the origin anything');
    const [stranger] = strangers;
    assert.ok(stranger);
    const right = await ask(again, origin, 'direct', stranger);
    assertSameRefusal('after the restart', await ask(again, origin, 'mirror', stranger), right);
  });
});

describe('rights while the origin is down', () => {
  interface Cached extends Lab {
    readonly tag: Asking;
    readonly manifest: Asking;
    readonly nobody: Asking;
  }

  async function cached(t: Parameters<typeof setup>[0], set: readonly string[]): Promise<Cached> {
    const made = await lab(t, 'token', { set });
    const { origin, node, owner, secret } = made;
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: secret.digest,
      size: secret.size,
    };
    const manifest = origin
      .repository('team/private')
      .addManifest({ schemaVersion: 2, layers: [layer] }, { tag: 'v1' });
    const tag = { ...owner, path: '/v2/team/private/manifests/v1' };
    const byDigest = { ...owner, path: manifest.path };
    for (const asking of [tag, byDigest, owner]) {
      assert.equal((await ask(node, origin, 'mirror', asking)).status, 200);
    }
    return { ...made, tag, manifest: byDigest, nobody: { ...owner, authorization: undefined } };
  }

  it('deny: what is within access.ttl is served, what needs its word is 503 at once', async (t) => {
    const { origin, node, owner, tag, manifest, nobody, secret } = await cached(t, []);
    await origin.down();
    for (const form of FORMS) {
      const whole = await ask(node, origin, form, owner);
      assert.equal(whole.status, 200);
      assert.equal(whole.bytes, secret.size);
      assert.equal((await ask(node, origin, form, manifest)).status, 200);
      for (const asking of [tag, nobody, { ...tag, authorization: undefined }]) {
        const answer = await ask(node, origin, form, asking);
        assert.equal(answer.status, 503, `${form} ${asking.path}`);
        assert.ok(answer.headMs < 2_000, `as soon as the connect fails, not after ${answer.headMs} ms`);
        assert.equal(answer.header('x-damselfly-source'), undefined);
      }
    }
    await origin.up();
    await eventually(async () => (await ask(node, origin, 'mirror', tag)).status === 200, {
      timeoutMs: 10_000,
    });
  });

  it('deny: a right that has expired is 503 while the origin is down', async (t) => {
    const { origin, node, owner } = await cached(t, ['access.ttl=1s']);
    await origin.down();
    await eventually(async () => (await ask(node, origin, 'mirror', owner)).status === 503);
  });

  it('allow: a known requester gets a cached image by tag and by digest, nobody else', async (t) => {
    const { origin, node, owner, tag, manifest, nobody, secret } = await cached(t, [
      'access.whenOriginDown=allow',
      'access.ttl=1s',
    ]);
    await origin.down();
    await sleep(1_100);
    for (const form of FORMS) {
      const byTag = await ask(node, origin, form, tag);
      assert.equal(byTag.status, 200, byTag.body.toString());
      assert.equal((await ask(node, origin, form, manifest)).status, 200);
      const whole = await ask(node, origin, form, owner);
      assert.equal(whole.status, 200);
      assert.equal(whole.bytes, secret.size);
      for (const asking of [nobody, { ...tag, authorization: 'Bearer other' }]) {
        assert.equal((await ask(node, origin, form, asking)).status, 503);
      }
    }
  });
});
