import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { adminApp } from '../../src/admin/admin-server.ts';
import type { CacheKeeper } from '../../src/admin/cache-routes.ts';
import type { Digest } from '../../src/blob/digest.ts';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { OriginId } from '../../src/blob/upstream.ts';
import { cacheKeeper, type KeeperParts } from '../../src/cache-keeper.ts';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { blobOf, putAll, storeIn } from '../store/support.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { makeKeeper, makePorts } from './support.ts';

const ROUTES = ['verify', 'gc', 'rm'] as const;
const ORIGIN = 'https://registry.example.com' as OriginId;

function appWith(t: TestContext, keeper: CacheKeeper, token?: string) {
  const app = adminApp(makePorts({ keeper, token }), { running: 0 });
  t.after(() => app.close());
  const post = (
    route: string,
    body: unknown,
    headers: Record<string, string> = {},
    remoteAddress = '127.0.0.1',
  ) =>
    app.inject({
      method: 'POST',
      url: `/api/v1/cache/${route}`,
      remoteAddress,
      headers: { 'content-type': 'application/json', host: '127.0.0.1:4003', ...headers },
      payload: JSON.stringify(body),
    });
  return { app, post };
}

function events(body: string): Record<string, unknown>[] {
  return body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function keeperOn(t: TestContext, changes: Partial<KeeperParts> = {}) {
  const { path } = await tempFolder(t);
  const store = await storeIn(path);
  t.after(() => store.close());
  const keeper = cacheKeeper({
    store,
    log: silentLogger,
    defaultBytesPerSecond: Number.POSITIVE_INFINITY,
    remove: (digest) => {
      store.catalog.drop(digest);
      return true;
    },
    forget: (digest) => store.catalog.drop(digest),
    originsOf: () => [ORIGIN],
    repositoriesOf: (digests) =>
      new Map([...digests].map((digest) => [digest, [{ origin: ORIGIN, repository: 'team/app' }]])),
    ...changes,
  });
  return { store, keeper };
}

test('whoever may not change anything may not look at the list either', async (t) => {
  const asked: string[] = [];
  const keeper = makeKeeper({
    remove: async function* () {
      asked.push('rm');
      yield { event: 'done', blobs: 0, bytes: 0, inUse: 0 };
    },
  });
  const { app, post } = appWith(t, keeper);
  for (const route of ROUTES) {
    const remote = await post(route, { all: true }, {}, '10.0.0.7');
    assert.deepEqual([remote.statusCode, remote.json().code], [403, 'admin-forbidden'], route);
    const page = await post(route, { all: true }, { origin: 'https://evil.example.com' });
    assert.equal(page.statusCode, 403, route);
  }
  assert.equal((await app.inject({ url: '/api/v1/blobs', remoteAddress: '10.0.0.7' })).statusCode, 403);
  assert.equal((await app.inject('/api/v1/blobs')).statusCode, 200);
  assert.deepEqual(asked, []);
  const locked = appWith(t, keeper, 'tok-1');
  for (const route of ROUTES) assert.equal((await locked.post(route, { all: true })).statusCode, 401, route);
  assert.equal((await locked.app.inject('/api/v1/blobs')).statusCode, 401);
  const shown = await locked.post('rm', { all: true }, { authorization: 'Bearer tok-1' }, '10.0.0.7');
  assert.equal(shown.statusCode, 200);
  assert.deepEqual(asked, ['rm']);
});

for (const [route, body] of [
  ['verify', { digests: [] }],
  ['verify', { digest: 'sha256:ab' }],
  ['verify', { bytesPerSecond: 0 }],
  ['gc', { olderThanMs: -1 }],
  ['gc', { maxBytes: '1GiB' }],
  ['rm', {}],
  ['rm', { all: false }],
  ['rm', { all: true, digests: ['abcdef'] }],
  ['rm', { digests: Array.from({ length: 501 }, () => 'abcdef') }],
] as const) {
  test(`${route} with ${JSON.stringify(body).slice(0, 50)} is refused before anything begins`, async (t) => {
    const begun = (): never => {
      throw new Error('begun');
    };
    const { post } = appWith(t, makeKeeper({ verify: begun, collect: begun, remove: begun }));
    const answer = await post(route, body);
    assert.deepEqual([answer.statusCode, answer.json().code], [400, 'request-malformed']);
  });
}

test('the list has origins and repositories and no secret, in pages', async (t) => {
  const { store, keeper } = await keeperOn(t);
  for (const n of [0, 1, 2]) await putAll(store, blobOf(PIECE_BYTES + n, n));
  const { app } = appWith(t, keeper);
  const first = (await app.inject('/api/v1/blobs?limit=2')).json();
  assert.equal(first.blobs.length, 2);
  assert.deepEqual(first.total.blobs, 3);
  const { lastReadAt, diskBytes, digest, ...rest } = first.blobs[0];
  assert.deepEqual(Object.keys(rest).sort(), [
    'mediaType',
    'origins',
    'pieces',
    'proven',
    'repositories',
    'size',
  ]);
  assert.deepEqual(rest.origins, [ORIGIN]);
  assert.deepEqual(rest.repositories, ['registry.example.com/team/app']);
  assert.deepEqual(rest.pieces, { present: 2, total: 2 });
  assert.ok(diskBytes >= PIECE_BYTES && Date.parse(lastReadAt) > 0);
  const second = (await app.inject(`/api/v1/blobs?limit=2&after=${encodeURIComponent(first.next)}`)).json();
  assert.deepEqual([second.blobs.length, second.next], [1, null]);
  const one = (await app.inject(`/api/v1/blobs?digest=${digest}`)).json();
  assert.deepEqual([one.blobs.length, one.blobs[0].digest], [1, digest]);
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'after=nonsense', 'other=1'])
    assert.equal((await app.inject(`/api/v1/blobs?${query}`)).statusCode, 400, query);
});

test('verify, gc and rm stream what they do, and the last event says how it ended', async (t) => {
  const { store, keeper } = await keeperOn(t);
  const blobs = [0, 1, 2].map((n) => blobOf(PIECE_BYTES + n, n));
  for (const blob of blobs) await putAll(store, blob);
  const { post } = appWith(t, keeper);
  const verified = events((await post('verify', {})).body);
  assert.deepEqual([verified[0]?.event, verified.at(-1)?.event], ['start', 'done']);
  assert.equal(verified.at(-1)?.blobsDone, 3);
  const [first] = blobs;
  assert.ok(first !== undefined);
  const prefix = first.digest.slice('sha256:'.length, 20);
  const one = events((await post('verify', { digests: [prefix, first.digest] })).body).at(-1);
  assert.deepEqual([one?.blobs, one?.bytesDone], [1, first.size]);
  const removed = events((await post('rm', { digests: [prefix] })).body);
  assert.deepEqual(
    removed.map(({ event, digest, inUse }) => [event, digest, inUse]),
    [
      ['removed', first.digest, false],
      ['done', undefined, 0],
    ],
  );
  assert.equal(store.catalog.hasAny(first.digest), false);
  const collected = events((await post('gc', { maxBytes: 0 })).body);
  assert.equal(collected.length, 1);
  assert.equal((collected[0]?.evicted as { segments: number } | undefined)?.segments, 2);
  assert.equal((await post('rm', { digests: [prefix] })).json().code, 'blob-unknown');
  assert.equal((await post('verify', { digests: ['sha256:xyz'] })).json().code, 'digest-unclear');
});

test('nothing is removed when one of the names is not understood', async (t) => {
  const removed: Digest[] = [];
  const { store, keeper } = await keeperOn(t, {
    remove: (digest) => {
      removed.push(digest);
      return true;
    },
  });
  const blob = blobOf(10, 'a');
  await putAll(store, blob);
  assert.throws(
    () => keeper.remove({ digests: [blob.digest, 'nonsense'] }, new AbortController().signal),
    (error) => hasCode(error, 'digest-unclear'),
  );
  assert.deepEqual(removed, []);
});

test('one check or tidying at a time, and the next once it is over, however it ended', async (t) => {
  const { store, keeper } = await keeperOn(t);
  await putAll(store, blobOf(PIECE_BYTES, 'a'));
  const signal = new AbortController().signal;
  const running = keeper.verify({ bytesPerSecond: 1024 }, signal);
  assert.equal((await running.next()).value?.event, 'start');
  for (const start of [() => keeper.verify({}, signal), () => keeper.collect({}, signal)])
    assert.throws(start, (error) => hasCode(error, 'cache-busy'));
  await running.return(undefined);
  const stop = new AbortController();
  const stopped = keeper.verify({ bytesPerSecond: 1024 }, stop.signal);
  await stopped.next();
  stop.abort(new DOMException('the client hung up', 'AbortError'));
  const last = (await stopped.next()).value;
  assert.equal(last?.event, 'failed');
  const { done, value } = await keeper.collect({}, signal).next();
  assert.deepEqual([done, value?.event], [false, 'done']);
});
