import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '../../src/access/verdict.ts';
import type { Digest } from '../../src/blob/digest.ts';
import type { Upstream } from '../../src/blob/upstream.ts';
import {
  challengeOf,
  digestNamed,
  MINUTE_MS,
  makeWorld,
  OTHER_ORIGIN,
  registryPolicy,
  upstreamOf,
  type World,
} from './support.ts';

const layer = digestNamed('layer');
const secret = digestNamed('secret');

function ask({ gate }: World, upstream: Upstream, digest: Digest): Promise<Verdict> {
  return gate.ask(upstream, digest, new AbortController().signal);
}

function refusalOf(verdict: Verdict) {
  assert.equal(verdict.kind, 'refused');
  return verdict.refusal;
}

/** alice and bob may read team/app, everybody public/app, only alice private/app, which alone holds the secret. */
function shop(): World {
  const world = makeWorld();
  world.origin.policy = registryPolicy(
    {
      'team/app': ['Bearer alice', 'Bearer bob'],
      'public/app': ['nobody', 'Bearer alice', 'Bearer bob', 'Bearer eve'],
      'private/app': ['Bearer alice'],
    },
    { 'team/app': [layer], 'public/app': [layer], 'private/app': [secret] },
  );
  return world;
}

test('nothing is known at first', () => {
  const { gate, origin } = makeWorld();
  assert.equal(gate.known(upstreamOf('alice'), layer), false);
  assert.equal(origin.questions.length, 0);
});

test('(a) alone is not enough', () => {
  const { gate } = makeWorld();
  gate.learn(upstreamOf('alice'), digestNamed('another'), 200);
  assert.equal(gate.known(upstreamOf('alice'), layer), false);
});

test('(b) alone is not enough', () => {
  const { gate } = makeWorld();
  gate.learnMembers(upstreamOf('alice').origin, 'team/app', [layer]);
  assert.equal(gate.known(upstreamOf('alice'), layer), false);
});

test('both facts are, wherever each came from', () => {
  const { gate } = makeWorld();
  gate.learn(upstreamOf('alice'), digestNamed('another'), 206);
  gate.learn(upstreamOf('bob'), layer, 307);
  assert.equal(gate.known(upstreamOf('alice'), layer), true);
});

test('facts hold for their own credential, repository and origin only', () => {
  const { gate } = makeWorld();
  gate.learn(upstreamOf('alice'), layer, 200);
  assert.equal(gate.known(upstreamOf('alice'), layer), true);
  assert.equal(gate.known(upstreamOf('bob'), layer), false);
  assert.equal(gate.known(upstreamOf(undefined), layer), false);
  assert.equal(gate.known(upstreamOf('alice', 'team/other'), layer), false);
  assert.equal(gate.known(upstreamOf('alice', 'team/app', OTHER_ORIGIN), layer), false);
  assert.equal(gate.known(upstreamOf('alice'), secret), false);
});

for (const status of [200, 206, 204, 301, 302, 307, 308]) {
  test(`${status} teaches both facts`, () => {
    const { gate } = makeWorld();
    gate.learn(upstreamOf('alice'), layer, status);
    assert.equal(gate.known(upstreamOf('alice'), layer), true);
  });
}

for (const status of [100, 400, 401, 403, 404, 416, 429, 500, 503]) {
  test(`${status} teaches nothing`, () => {
    const { gate } = makeWorld();
    gate.learn(upstreamOf('alice'), layer, status);
    assert.equal(gate.known(upstreamOf('alice'), layer), false);
  });
}

test('(a) is kept for access.ttl and not longer, however often it is used', () => {
  const { gate, clock } = makeWorld();
  gate.learn(upstreamOf('alice'), layer, 200);
  for (let i = 0; i < 5; i++) {
    assert.equal(gate.known(upstreamOf('alice'), layer), true);
    clock.nowMs += MINUTE_MS - 1;
  }
  assert.equal(gate.known(upstreamOf('alice'), layer), true, 'a few milliseconds before its end');
  clock.nowMs += 5;
  assert.equal(gate.known(upstreamOf('alice'), layer), false);
});

test('every answer of the origin renews (a)', () => {
  const { gate, clock } = makeWorld();
  gate.learn(upstreamOf('alice'), layer, 200);
  clock.nowMs += 4 * MINUTE_MS;
  gate.learn(upstreamOf('alice'), secret, 200);
  clock.nowMs += 4 * MINUTE_MS;
  assert.equal(gate.known(upstreamOf('alice'), layer), true);
});

test('a clock that was set back ends (a) instead of stretching it', () => {
  const { gate, clock } = makeWorld();
  gate.learn(upstreamOf('alice'), layer, 200);
  clock.nowMs -= 60 * MINUTE_MS;
  assert.equal(gate.known(upstreamOf('alice'), layer), false);
});

test('the question is one HEAD with the own credential, whose redirect is not followed', async () => {
  const world = makeWorld();
  world.origin.policy = ({ answer }) => answer(307, ['Location', 'https://cdn.example.com/x?sig=1']);
  const verdict = await ask(world, upstreamOf('alice'), layer);
  assert.equal(verdict.kind, 'granted');
  assert.equal(world.origin.questions.length, 1);
  const { who, options, upstream, digest } = world.origin.at(0);
  assert.equal(who, 'Bearer alice');
  assert.equal(options.followRedirects, false);
  assert.equal(options.urgency.level, 'demand');
  assert.equal(upstream.repository, 'team/app');
  assert.equal(digest, layer);
  assert.equal(world.gate.known(upstreamOf('alice'), layer), true, 'a 3xx is a yes');
});

test('a grant tells size and media type of a 200', async () => {
  const verdict = await ask(shop(), upstreamOf('alice'), layer);
  assert.deepEqual(verdict, { kind: 'granted', size: 1234, mediaType: 'application/octet-stream' });
});

test('a digest of a private repository asked for under a public one gets the 404 of the origin', async () => {
  const world = shop();
  await ask(world, upstreamOf('alice', 'private/app'), secret);
  for (const who of ['eve', 'bob', undefined]) {
    const upstream = upstreamOf(who, 'public/app');
    await ask(world, upstream, layer);
    assert.equal(world.gate.known(upstream, secret), false);
    const refusal = refusalOf(await ask(world, upstream, secret));
    assert.equal(refusal.status, 404);
    assert.deepEqual(refusal.rawHeaders, ['Content-Type', 'application/json']);
  }
});

test('a token for another repository, and nobody, get the challenge of the origin unchanged', async () => {
  const world = shop();
  await ask(world, upstreamOf('alice', 'private/app'), secret);
  await ask(world, upstreamOf('bob', 'team/app'), layer);
  for (const who of ['bob', undefined]) {
    const upstream = upstreamOf(who, 'private/app');
    assert.equal(world.gate.known(upstream, secret), false);
    const refusal = refusalOf(await ask(world, upstream, secret));
    assert.equal(refusal.status, 401);
    assert.deepEqual(refusal.rawHeaders, ['Www-Authenticate', challengeOf('private/app')]);
  }
});

for (const status of [400, 401, 403, 404, 410, 412, 429, 451]) {
  test(`a ${status} is passed on and not cached`, async () => {
    const world = makeWorld();
    const lines = ['WWW-Authenticate', 'Basic realm="a"', 'www-authenticate', 'Bearer realm="b"', 'X-A', '1'];
    world.origin.policy = ({ answer }) => answer(status, lines);
    for (let i = 1; i <= 2; i++) {
      const refusal = refusalOf(await ask(world, upstreamOf('alice'), layer));
      assert.equal(refusal.status, status);
      assert.deepEqual(refusal.rawHeaders, lines);
      assert.equal(world.origin.questions.length, i, 'asked again each time');
    }
    assert.equal(world.gate.known(upstreamOf('alice'), layer), false);
    assert.deepEqual(
      world.facts.writes.filter((write) => write !== 'put key'),
      [],
    );
    world.origin.policy = ({ answer }) => answer(200);
    assert.equal(
      (await ask(world, upstreamOf('alice'), layer)).kind,
      'granted',
      'a right given later counts',
    );
  });
}

for (const status of [401, 403]) {
  test(`a ${status} ends a known (a) at once, for that credential alone`, async () => {
    const world = shop();
    await ask(world, upstreamOf('alice'), layer);
    await ask(world, upstreamOf('bob'), layer);
    world.origin.policy = ({ answer }) => answer(status);
    assert.equal((await ask(world, upstreamOf('alice'), digestNamed('new'))).kind, 'refused');
    assert.equal(world.gate.known(upstreamOf('alice'), layer), false);
    assert.equal(world.gate.known(upstreamOf('bob'), layer), true);
  });
}

test('a 404 takes nothing away: whoever asks without rights does not disturb the others', async () => {
  const world = shop();
  await ask(world, upstreamOf('alice'), layer);
  world.origin.policy = ({ answer }) => answer(404);
  await ask(world, upstreamOf('eve'), layer);
  assert.equal(world.gate.known(upstreamOf('alice'), layer), true);
});

test('a renewed token costs one HEAD, not one per blob', async () => {
  const world = makeWorld();
  world.origin.policy = ({ answer }) => answer(200);
  const blobs = Array.from({ length: 20 }, (_, i) => digestNamed(`blob ${i}`));
  for (const blob of blobs) world.gate.learn(upstreamOf('old token'), blob, 206);
  for (const blob of blobs) {
    if (!world.gate.known(upstreamOf('new token'), blob)) await ask(world, upstreamOf('new token'), blob);
  }
  assert.equal(world.origin.questions.length, 1);
});

test('a tag tells (b) of its digest', () => {
  const { gate } = makeWorld();
  gate.learnTag(upstreamOf('alice').origin, 'team/app', 'v1', layer);
  assert.equal(gate.known(upstreamOf('alice'), layer), false);
  gate.learn(upstreamOf('alice'), secret, 200);
  assert.equal(gate.known(upstreamOf('alice'), layer), true);
});

test('anonymous access is a right like any other', async () => {
  const world = shop();
  assert.equal((await ask(world, upstreamOf(undefined, 'public/app'), layer)).kind, 'granted');
  assert.equal(world.origin.at(0).who, 'nobody');
  assert.equal(world.gate.known(upstreamOf(undefined, 'public/app'), layer), true);
  assert.equal(world.gate.known(upstreamOf('eve', 'public/app'), layer), false);
});

test('each outcome is counted', async () => {
  const world = shop();
  await ask(world, upstreamOf('alice'), layer);
  world.gate.known(upstreamOf('alice'), layer);
  world.gate.known(upstreamOf('alice'), layer);
  world.gate.known(upstreamOf('alice'), secret);
  await ask(world, upstreamOf('eve'), layer);
  assert.deepEqual(await world.outcomes(), { known: 2, granted: 1, refused: 1 });
});
