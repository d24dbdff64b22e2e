import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { DamselflyError } from '../../src/errors.ts';
import { digestNamed, FakeFacts, MINUTE_MS, makeWorld, upstreamOf } from './support.ts';

const layer = digestNamed('layer');
const alice = upstreamOf('alice');

test('both facts survive a restart, within access.ttl', () => {
  const before = makeWorld();
  before.gate.learn(alice, layer, 200);
  const after = makeWorld({ facts: before.facts });
  after.clock.nowMs += 5 * MINUTE_MS - 1;
  assert.equal(after.gate.known(alice, layer), true);
  assert.equal(after.gate.known(upstreamOf('eve'), layer), false);
  after.clock.nowMs += 1;
  assert.equal(after.gate.known(alice, layer), false);
});

test('a right in use is written again only when the written one has aged', () => {
  const { gate, clock, facts } = makeWorld();
  gate.learn(alice, layer, 200);
  const written = facts.writes.length;
  for (let i = 0; i < 1000; i++) gate.learn(alice, layer, 206);
  assert.equal(facts.writes.length, written, 'a cold pull does not write a fact per range');
  clock.nowMs += 4 * MINUTE_MS;
  gate.learn(alice, layer, 206);
  assert.deepEqual(facts.writes.slice(written), ['put reader']);
  const after = makeWorld({ facts });
  after.clock.nowMs = clock.nowMs + 4 * MINUTE_MS;
  assert.equal(after.gate.known(alice, layer), true);
});

test('a right that was taken away does not come back with a restart', () => {
  const before = makeWorld();
  before.gate.learn(alice, layer, 200);
  before.gate.forget(alice);
  assert.equal(makeWorld({ facts: before.facts }).gate.known(alice, layer), false);
});

test('the grace and the meaning of tags survive a restart', async () => {
  const before = makeWorld({ whenOriginDown: 'allow' });
  before.gate.learn(alice, layer, 200);
  before.gate.learnTag(alice.origin, alice.repository, 'v1', layer);
  const after = makeWorld({ whenOriginDown: 'allow', facts: before.facts });
  after.clock.nowMs += 60 * MINUTE_MS;
  after.origin.policy = ({ fail }) => fail(new DamselflyError('origin-unreachable', 'down'));
  assert.equal((await after.gate.ask(alice, layer, new AbortController().signal)).kind, 'granted');
  assert.equal(after.gate.lastDigestOfTag(alice, 'v1'), layer);
});

test('facts expire in the index when they can no longer count', () => {
  const facts = new FakeFacts();
  const { gate, clock } = makeWorld({ facts, whenOriginDown: 'allow', graceMs: 60 * MINUTE_MS });
  gate.learn(alice, layer, 200);
  assert.equal(facts.load('reader')[0]?.expiresAtMs, clock.nowMs + 60 * MINUTE_MS);
  assert.equal(facts.load('member')[0]?.expiresAtMs, Number.POSITIVE_INFINITY);

  const denying = new FakeFacts();
  const other = makeWorld({ facts: denying, graceMs: 60 * MINUTE_MS });
  other.gate.learn(alice, layer, 200);
  assert.equal(denying.load('reader')[0]?.expiresAtMs, other.clock.nowMs + 5 * MINUTE_MS);
});

test('the hash key is made once and kept; without it the rights of before are unreadable', () => {
  const before = makeWorld();
  before.gate.learn(alice, layer, 200);
  const key = before.facts.load('key')[0];
  assert.equal(Buffer.from(key?.value ?? '', 'base64url').length, 32);
  makeWorld({ facts: before.facts });
  assert.deepEqual(before.facts.load('key'), [key]);
  before.facts.rows.delete('key');
  assert.equal(makeWorld({ facts: before.facts }).gate.known(alice, layer), false);
  assert.notEqual(before.facts.load('key')[0]?.value, key?.value);
});

test('two nodes hash the same credential differently', () => {
  const [one, two] = [makeWorld(), makeWorld()];
  one.gate.learn(alice, layer, 200);
  two.gate.learn(alice, layer, 200);
  assert.notEqual(one.facts.load('reader')[0]?.key, two.facts.load('reader')[0]?.key);
});

test('no fact and no view of the gate shows a credential', () => {
  const { gate, facts } = makeWorld();
  gate.learn(upstreamOf('very-secret-token'), layer, 200);
  gate.learnTag(alice.origin, alice.repository, 'v1', layer);
  const text = inspect([...facts.rows.values()], { depth: 9 }) + inspect(gate, { depth: 9 });
  assert.doesNotMatch(text, /very-secret/);
});

test('facts that make no sense are left out', () => {
  const before = makeWorld();
  before.gate.learn(alice, layer, 200);
  before.gate.learnTag(alice.origin, alice.repository, 'v1', layer);
  for (const [kind, rows] of before.facts.rows) {
    if (kind === 'key') continue;
    for (const [key, fact] of rows) rows.set(key, { ...fact, value: kind === 'reader' ? '' : 'sha256:zz' });
  }
  const after = makeWorld({ facts: before.facts, whenOriginDown: 'allow' });
  assert.equal(after.gate.known(alice, layer), false);
  after.gate.learn(alice, layer, 200);
  assert.equal(after.gate.lastDigestOfTag(alice, 'v1'), undefined);
});

test('memory and index are bounded: the least recently used is forgotten in both', () => {
  const { gate, facts } = makeWorld({ maxReaders: 3, maxMembers: 4, maxTags: 2, whenOriginDown: 'allow' });
  for (let i = 0; i < 3; i++) gate.learn(upstreamOf(`user ${i}`), layer, 200);
  assert.equal(gate.known(upstreamOf('user 0'), layer), true, 'used: now the youngest');
  gate.learn(upstreamOf('user 3'), layer, 200);
  assert.equal(gate.known(upstreamOf('user 0'), layer), true);
  assert.equal(gate.known(upstreamOf('user 1'), layer), false);
  assert.equal(facts.load('reader').length, 3);

  for (let i = 0; i < 20; i++) gate.learnMembers(alice.origin, 'team/app', [digestNamed(`blob ${i}`)]);
  assert.equal(facts.load('member').length, 4);
  assert.equal(gate.known(upstreamOf('user 0'), digestNamed('blob 15')), false);
  assert.equal(gate.known(upstreamOf('user 0'), digestNamed('blob 16')), true);

  for (const tag of ['v1', 'v2', 'v3']) gate.learnTag(alice.origin, 'team/app', tag, digestNamed(tag));
  assert.deepEqual(
    facts.load('tag').map((fact) => fact.value),
    [digestNamed('v2'), digestNamed('v3')],
  );
});

test('a table that holds more than fits is cut to size at the start', () => {
  const facts = new FakeFacts();
  const before = makeWorld({ facts });
  for (let i = 0; i < 10; i++) before.gate.learnMembers(alice.origin, 'team/app', [digestNamed(`blob ${i}`)]);
  makeWorld({ facts, maxMembers: 4 });
  assert.equal(facts.load('member').length, 4);
});
