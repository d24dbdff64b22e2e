import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode, OriginRefusal } from '../../src/errors.ts';
import type { RawHeaders } from '../../src/origin/headers.ts';
import { follow, SignedUrls } from '../../src/origin/redirects.ts';
import { emptyBody, Reply } from '../../src/origin/reply.ts';
import { type RedirectOptions, seededBytes, startOrigin } from '../support/origin.ts';
import { REPOSITORY, rig } from './support.ts';

/** Follows through a map of URL to Location (or status); @returns what was asked, with which headers. */
async function walk(start: string, map: Record<string, string | number>) {
  const asked: { url: string; headers: RawHeaders }[] = [];
  const headers = { common: ['accept', '*/*'], credential: ['authorization', 'secret'], home: start };
  const followed = await follow(start, headers, async (url, lines) => {
    asked.push({ url, headers: lines });
    const target = map[url] ?? 200;
    if (typeof target === 'number') return new Reply(target, [], emptyBody());
    return new Reply(307, ['Location', target], emptyBody());
  }).catch((error) => error as Error);
  return {
    asked: asked.map(({ url }) => url),
    secrets: asked.map(({ headers: lines }) => lines.includes('secret')),
    followed,
  };
}

test('Locations are absolute, scheme-relative or relative, and stay as they are spelt', async () => {
  const start = 'https://reg.example/v2/a/blobs/x';
  const cases: Record<string, string> = {
    'https://cdn.example/%7ea/../b?sig=%2B+%2f&x=1': 'https://cdn.example/%7ea/../b?sig=%2B+%2f&x=1',
    '//cdn.example/b': 'https://cdn.example/b',
    '/files/b?x': 'https://reg.example/files/b?x',
    '../c': 'https://reg.example/v2/a/c',
    '?only=query': 'https://reg.example/v2/a/blobs/x?only=query',
    'https://cdn.example/b#frag': 'https://cdn.example/b',
    'https://user:pw@cdn.example/b': 'https://cdn.example/b',
    'https://cdn.example/a b': 'https://cdn.example/a%20b',
  };
  for (const [location, expected] of Object.entries(cases)) {
    const { asked } = await walk(start, { [start]: location });
    assert.deepEqual(asked, [start, expected], location);
  }
});

test('a credential goes on to the same scheme, host and port only, and comes back with them', async () => {
  const home = 'https://reg.example/a';
  const { asked, secrets } = await walk(home, {
    [home]: 'https://reg.example:443/b',
    'https://reg.example:443/b': 'https://reg.example:444/c',
    'https://reg.example:444/c': 'http://reg.example/d',
    'http://reg.example/d': 'https://sub.reg.example/e',
    'https://sub.reg.example/e': 'https://reg.example/f',
  });
  assert.equal(asked.length, 6);
  assert.deepEqual(secrets, [true, true, false, false, false, true]);
});

test('loops, too many hops and Locations that lead nowhere are broken origins', async () => {
  const a = 'https://reg.example/0';
  const chain = (length: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length }, (_, i) => [`https://reg.example/${i}`, `/${i + 1}`]));
  const ten = await walk(a, chain(10));
  assert.ok(!(ten.followed instanceof Error) && ten.followed.reply.status === 200);
  for (const [what, map] of Object.entries({
    'too many': chain(11),
    self: { [a]: a },
    loop: { [a]: '/1', 'https://reg.example/1': '/2', 'https://reg.example/2': '/0' },
    scheme: { [a]: 'ftp://x/' },
    script: { [a]: 'javascript:1' },
    broken: { [a]: 'https://[' },
    missing: { [a]: 302 },
  } as Record<string, Record<string, string | number>>)) {
    const { asked, followed } = await walk(a, map);
    assert.ok(asked.length <= Math.min(11, Object.keys(map).length), `${what}: ${asked.length} requests`);
    assert.ok(hasCode(followed, 'origin-broken'), what);
  }
});

test('signed URLs are kept apart by origin, repository and digest, and bounded', async () => {
  const urls = new SignedUrls(2);
  const upstream = { origin: 'https://a', repository: 'r', kind: 'blob' } as never;
  const other = { origin: 'https://a', repository: 'r2', kind: 'blob' } as never;
  urls.set(upstream, 'sha256:1' as never, 'u1');
  assert.equal(urls.get(upstream, 'sha256:1' as never), 'u1');
  assert.equal(urls.get(other, 'sha256:1' as never), undefined);
  assert.equal(urls.get(upstream, 'sha256:2' as never), undefined);
  urls.set(upstream, 'sha256:2' as never, 'u2');
  urls.set(upstream, 'sha256:3' as never, 'u3');
  assert.equal(urls.get(upstream, 'sha256:1' as never), undefined);
  urls.forget(upstream, 'sha256:3' as never);
  assert.equal(urls.get(upstream, 'sha256:3' as never), undefined);
});

const SIZE = 1_000_000;
const BYTES = seededBytes('redirects', { start: 0, end: SIZE });

async function setUp(redirect: RedirectOptions) {
  const origin = await startOrigin({ redirect, auth: 'basic', users: { ann: 'pw' } });
  const { digest } = origin.repository(REPOSITORY, { readers: ['ann'] }).addBlob(BYTES);
  const parts = rig(origin);
  const upstream = parts.as(`Basic ${Buffer.from('ann:pw').toString('base64')}`);
  return {
    ...parts,
    origin,
    read: (start: number, end: number) => parts.read(digest, { start, end }, { upstream }),
    count: (endpoint: 'blob' | 'cdn') => origin.find({ endpoint }).length,
    async [Symbol.asyncDispose]() {
      await parts.close();
      await origin.close();
    },
  };
}

for (const status of [301, 302, 303, 307, 308] as const) {
  for (const location of ['absolute', 'relative'] as const) {
    test(`a blob behind a ${location} ${status} is read inside, the registry asked once`, async () => {
      await using parts = await setUp({ status, location });
      for (let i = 0; i < 4; i++) {
        assert.ok(
          (await parts.read(i * 1_000, i * 1_000 + 500)).equals(BYTES.subarray(i * 1_000, i * 1_000 + 500)),
        );
      }
      assert.deepEqual([parts.count('blob'), parts.count('cdn')], [1, 4]);
      assert.ok(
        parts.origin
          .find({ endpoint: 'cdn' })
          .every(
            ({ range, authorization }) =>
              range !== undefined && (location === 'relative' || authorization === 'none'),
          ),
      );
    });
  }
}

for (const refusal of [401, 403, 404] as const) {
  test(`a signed URL that ran out with ${refusal} is signed anew once`, async () => {
    await using parts = await setUp({ status: 307, refusal, maxUses: 2 });
    for (let i = 0; i < 5; i++) assert.equal((await parts.read(0, 10)).length, 10);
    assert.deepEqual([parts.count('blob'), parts.count('cdn')], [3, 7]);
    parts.origin.redirects.expireAll();
    assert.equal((await parts.read(0, 10)).length, 10);
  });
}

test('a store that refuses what was just signed is an answer, not a loop', async () => {
  await using parts = await setUp({ status: 307, maxUses: 0 });
  await assert.rejects(parts.read(0, 10), (error) => error instanceof OriginRefusal && error.status === 403);
  assert.deepEqual([parts.count('blob'), parts.count('cdn')], [1, 1]);
});

test('a mid-body loss is resumed at the signed URL', async () => {
  await using parts = await setUp({ status: 307 });
  parts.origin.fault({ match: { endpoint: 'cdn', nth: 1 }, action: { endAtByte: 400_000 } });
  assert.ok((await parts.read(0, SIZE)).equals(BYTES));
  assert.deepEqual([parts.count('blob'), parts.count('cdn')], [1, 2]);
});

test('a signed URL that runs out in mid-body is signed anew for the rest', async () => {
  await using parts = await setUp({ status: 307, maxUses: 1 });
  parts.origin.fault({ match: { endpoint: 'cdn', nth: 1 }, action: { endAtByte: 400_000 } });
  assert.ok((await parts.read(0, SIZE)).equals(BYTES));
  assert.deepEqual([parts.count('blob'), parts.count('cdn')], [2, 3]);
});

test('a registry that redirects in a loop is broken, without a storm', async () => {
  await using parts = await setUp({ status: 302, location: 'loop' });
  await assert.rejects(parts.read(0, 10), (error) => hasCode(error, 'origin-broken'));
  assert.ok(parts.origin.requests.length <= 11);
});

test('a store that fails is forgotten with its URL, and the next read asks the registry again', async () => {
  await using parts = await setUp({ status: 307 });
  await parts.read(0, 10);
  parts.origin.fault({ match: { endpoint: 'cdn' }, action: { status: 500 } });
  await assert.rejects(parts.read(0, 10), (error) => hasCode(error, 'origin-broken'));
  parts.origin.clearFaults();
  assert.equal((await parts.read(0, 10)).length, 10);
});

test('a store that asks to slow down is passed on as it is, and its URL stays good', async () => {
  await using parts = await setUp({ status: 307 });
  await parts.read(0, 10);
  parts.origin.fault({ match: { endpoint: 'cdn', times: 1 }, action: { status: 429 } });
  await assert.rejects(parts.read(0, 10), (error) => error instanceof OriginRefusal && error.status === 429);
  assert.equal((await parts.read(0, 10)).length, 10);
  assert.equal(parts.count('blob'), 1);
});
