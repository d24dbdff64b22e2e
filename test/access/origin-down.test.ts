import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '../../src/access/verdict.ts';
import type { Digest } from '../../src/blob/digest.ts';
import type { Upstream } from '../../src/blob/upstream.ts';
import { DamselflyError, type ErrorCode } from '../../src/errors.ts';
import { digestNamed, MINUTE_MS, makeWorld, settled, upstreamOf, type World } from './support.ts';

const layer = digestNamed('layer');
const manifest = digestNamed('manifest');
const alice = upstreamOf('alice');
const HOUR_MS = 60 * MINUTE_MS;

function ask({ gate }: World, upstream: Upstream, digest: Digest): Promise<Verdict> {
  return gate.ask(upstream, digest, new AbortController().signal);
}

/** alice has read the image while the origin was up; then `elapsedMs` pass and the origin goes down with `code`. */
function downWorld(
  whenOriginDown: 'deny' | 'allow',
  elapsedMs: number,
  code: ErrorCode = 'origin-unreachable',
): World {
  const world = makeWorld({ whenOriginDown, graceMs: 24 * HOUR_MS });
  world.gate.learn(alice, manifest, 200);
  world.gate.learnTag(alice.origin, alice.repository, 'v1', manifest);
  world.gate.learnMembers(alice.origin, alice.repository, [layer]);
  world.clock.nowMs += elapsedMs;
  world.origin.policy = ({ fail }) => fail(new DamselflyError(code, 'down'));
  return world;
}

test('within access.ttl a dead origin is not even asked, under deny as well', () => {
  const world = downWorld('deny', 4 * MINUTE_MS);
  assert.equal(world.gate.known(alice, layer), true);
  assert.equal(world.origin.questions.length, 0);
});

for (const code of [
  'origin-unreachable',
  'origin-timeout',
  'origin-failing',
  'origin-busy',
  'origin-broken',
] as const) {
  test(`deny: an expired right and ${code} is 503 rights-unknown, with its cause`, async () => {
    const world = downWorld('deny', HOUR_MS, code);
    const verdict = await ask(world, alice, layer);
    assert.equal(verdict.kind, 'unreachable');
    assert.equal(verdict.error.code, 'rights-unknown');
    assert.equal(verdict.error.status, 503);
    assert.equal((verdict.error.cause as DamselflyError).code, code);
    assert.match(verdict.error.message, /access\.whenOriginDown is "deny"/);
    assert.deepEqual(await world.outcomes(), { unreachable: 1 });
  });

  test(`allow: a right known within access.grace and ${code} is a yes`, async () => {
    const world = downWorld('allow', 23 * HOUR_MS, code);
    assert.equal(world.gate.known(alice, layer), false, 'the origin is asked all the same');
    assert.deepEqual(await ask(world, alice, layer), { kind: 'granted' });
    assert.equal(world.origin.questions.length, 1);
    assert.deepEqual(await world.outcomes(), { grace: 1 });
  });
}

test('a status of 500 and more is no word either', async () => {
  for (const status of [500, 501, 502, 503, 504]) {
    const denying = downWorld('deny', HOUR_MS);
    denying.origin.policy = ({ answer }) => answer(status);
    assert.equal((await ask(denying, alice, layer)).kind, 'unreachable');
    const allowing = downWorld('allow', HOUR_MS);
    allowing.origin.policy = ({ answer }) => answer(status);
    assert.equal((await ask(allowing, alice, layer)).kind, 'granted');
  }
});

test('allow: an origin that does not answer within the patience counts as down', async () => {
  const world = downWorld('allow', HOUR_MS);
  world.origin.policy = undefined;
  const verdict = await world.gate.ask(alice, layer, new AbortController().signal, { patienceMs: 1 });
  assert.equal(verdict.kind, 'granted');
  world.gate.close();
});

test('a grace grant teaches nothing: it does not stretch itself', async () => {
  const world = downWorld('allow', 23 * HOUR_MS);
  await ask(world, alice, layer);
  assert.equal(world.gate.known(alice, layer), false);
  world.clock.nowMs += 2 * HOUR_MS;
  const verdict = await ask(world, alice, layer);
  assert.equal(verdict.kind, 'unreachable');
  assert.match(verdict.error.message, /not known within access\.grace/);
});

test('allow: another credential, a digest that is not known there, another repository are refused', async () => {
  const world = downWorld('allow', HOUR_MS);
  const asked: [Upstream, Digest][] = [
    [upstreamOf('eve'), layer],
    [upstreamOf(undefined), layer],
    [alice, digestNamed('secret')],
    [upstreamOf('alice', 'team/other'), layer],
  ];
  for (const [upstream, digest] of asked) {
    assert.equal((await ask(world, upstream, digest)).kind, 'unreachable');
  }
});

test('allow: a refusal is the word of the origin, and ends the grace too', async () => {
  const world = downWorld('allow', HOUR_MS);
  world.origin.policy = ({ answer }) => answer(401);
  assert.equal((await ask(world, alice, layer)).kind, 'refused');
  world.origin.policy = ({ fail }) => fail(new DamselflyError('origin-unreachable', 'down'));
  assert.equal((await ask(world, alice, layer)).kind, 'unreachable');
});

for (const code of ['target-forbidden', 'origin-not-listed', 'request-malformed'] as const) {
  test(`${code} is no outage: it stays what it is, also under allow`, async () => {
    const world = downWorld('allow', HOUR_MS, code);
    const verdict = await ask(world, alice, layer);
    assert.equal(verdict.kind, 'unreachable');
    assert.equal(verdict.error.code, code);
  });
}

test('an error that is not ours is an internal one, told without its text', async () => {
  const world = downWorld('allow', HOUR_MS);
  world.origin.policy = ({ fail }) => fail(new TypeError('Bearer secret'));
  const verdict = await ask(world, alice, layer);
  assert.equal(verdict.kind, 'unreachable');
  assert.equal(verdict.error.code, 'internal');
  assert.doesNotMatch(verdict.error.message, /secret/);
});

test('allow: a tag is the last digest that this node saw for it, for a known requester', () => {
  const world = downWorld('allow', 23 * HOUR_MS);
  assert.equal(world.gate.lastDigestOfTag(alice, 'v1'), manifest);
  const newer = digestNamed('newer');
  world.gate.learnTag(alice.origin, alice.repository, 'v1', newer);
  assert.equal(world.gate.lastDigestOfTag(alice, 'v1'), newer);
  assert.equal(world.gate.lastDigestOfTag(alice, 'v2'), undefined);
  assert.equal(world.gate.lastDigestOfTag(upstreamOf('eve'), 'v1'), undefined);
  assert.equal(world.gate.lastDigestOfTag(upstreamOf('alice', 'team/other'), 'v1'), undefined);
  world.clock.nowMs += 2 * HOUR_MS;
  assert.equal(world.gate.lastDigestOfTag(alice, 'v1'), undefined, 'access.grace is over');
});

test('deny: a tag is never answered from memory', () => {
  assert.equal(downWorld('deny', 0).gate.lastDigestOfTag(alice, 'v1'), undefined);
});

test('a read under way that finds the origin down is under the same rule', async () => {
  const down = () => Promise.reject(new DamselflyError('origin-failing', 'breaker open'));
  const denied = await downWorld('deny', HOUR_MS).gate.during(alice, layer, down());
  assert.equal(denied.kind, 'unreachable');
  assert.equal(denied.error.code, 'rights-unknown');
  const granted = await downWorld('allow', HOUR_MS).gate.during(alice, layer, down());
  assert.equal(granted.kind, 'granted');
});

test('requesters with one new token hear of the outage together, without a HEAD each', async () => {
  const world = downWorld('deny', HOUR_MS);
  world.origin.policy = undefined;
  const asking = [ask(world, alice, layer), ask(world, alice, manifest)];
  await settled();
  assert.equal(world.origin.questions.length, 1);
  world.origin.at(0).fail(new DamselflyError('origin-failing', 'breaker open'));
  for (const verdict of await Promise.all(asking)) assert.equal(verdict.kind, 'unreachable');
  assert.equal(world.origin.questions.length, 1);
});
