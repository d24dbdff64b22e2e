import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '../../src/access/verdict.ts';
import { DamselflyError, OriginRefusal } from '../../src/errors.ts';
import { digestNamed, makeWorld, settled, upstreamOf } from './support.ts';

const layer = digestNamed('layer');
const alice = upstreamOf('alice');

function signal(): AbortSignal {
  return new AbortController().signal;
}

function kinds(verdicts: readonly Verdict[]): string[] {
  return verdicts.map((verdict) => verdict.kind);
}

test('one HEAD for all who ask the same at the same time', async () => {
  const { gate, origin } = makeWorld();
  const asking = Array.from({ length: 10 }, () => gate.ask(alice, layer, signal()));
  await settled();
  assert.equal(gate.isPending(alice, layer), true);
  assert.equal(origin.questions.length, 1);
  origin.at(0).answer(200);
  assert.deepEqual(new Set(kinds(await Promise.all(asking))), new Set(['granted']));
  assert.equal(gate.isPending(alice, layer), false);
});

test('a refusal goes to all who asked with that credential, and to nobody else', async () => {
  const { gate, origin } = makeWorld();
  const refused = [gate.ask(alice, layer, signal()), gate.ask(alice, layer, signal())];
  const granted = gate.ask(upstreamOf('bob'), layer, signal());
  await settled();
  assert.deepEqual(
    origin.questions.map((question) => question.who),
    ['Bearer alice', 'Bearer bob'],
  );
  origin.at(0).answer(403);
  origin.at(1).answer(200);
  assert.deepEqual(kinds(await Promise.all(refused)), ['refused', 'refused']);
  assert.equal((await granted).kind, 'granted');
});

test('blob and manifest of one digest are two questions', async () => {
  const { gate, origin } = makeWorld();
  const asking = [
    gate.ask(alice, layer, signal()),
    gate.ask({ ...alice, kind: 'manifest' }, layer, signal()),
  ];
  await settled();
  assert.deepEqual(
    origin.questions.map(({ upstream }) => upstream.kind),
    ['blob', 'manifest'],
  );
  for (const { answer } of origin.questions) answer(404);
  await Promise.all(asking);
});

test('a waiter that hangs up leaves alone, even when it was the first', async () => {
  const { gate, origin } = makeWorld();
  const first = new AbortController();
  const leaving = gate.ask(alice, layer, first.signal);
  const staying = gate.ask(alice, layer, signal());
  await settled();
  const reason = new Error('the client is gone');
  first.abort(reason);
  await assert.rejects(leaving, reason);
  assert.equal(origin.at(0).options.signal.aborted, false);
  origin.at(0).answer(200);
  assert.equal((await staying).kind, 'granted');
  assert.equal(origin.questions.length, 1);
});

test('when everybody has hung up the answer still teaches', async () => {
  const { gate, origin } = makeWorld();
  const controller = new AbortController();
  const asking = gate.ask(alice, layer, controller.signal);
  await settled();
  controller.abort(new Error('gone'));
  await assert.rejects(asking, /gone/);
  origin.at(0).answer(200);
  await settled();
  assert.equal(gate.known(alice, layer), true);
});

test('a signal that is aborted already asks nothing', async () => {
  const { gate, origin } = makeWorld();
  await assert.rejects(gate.ask(alice, layer, AbortSignal.abort(new Error('gone'))), /gone/);
  assert.equal(origin.questions.length, 0);
});

test('what was learned while asking was prepared is not asked', async () => {
  const { gate, origin } = makeWorld();
  gate.learn(alice, layer, 200);
  assert.equal((await gate.ask(alice, layer, signal())).kind, 'granted');
  assert.equal(origin.questions.length, 0);
});

test('reads of many known blobs with one new token wait for one HEAD', async () => {
  const { gate, origin } = makeWorld();
  const blobs = Array.from({ length: 12 }, (_, i) => digestNamed(`blob ${i}`));
  gate.learnMembers(alice.origin, alice.repository, blobs);
  const asking = blobs.map((blob) => gate.ask(alice, blob, signal()));
  await settled();
  assert.equal(origin.questions.length, 1);
  origin.at(0).answer(307);
  assert.deepEqual(new Set(kinds(await Promise.all(asking))), new Set(['granted']));
  assert.equal(origin.questions.length, 1);
});

test('a blob that is not known to belong there is asked for by itself meanwhile', async () => {
  const { gate, origin } = makeWorld();
  const stranger = digestNamed('stranger');
  gate.learnMembers(alice.origin, alice.repository, [layer]);
  const asking = [gate.ask(alice, layer, signal()), gate.ask(alice, stranger, signal())];
  await settled();
  assert.deepEqual(
    origin.questions.map(({ digest }) => digest),
    [layer, stranger],
  );
  origin.at(0).answer(200);
  origin.at(1).answer(404);
  assert.deepEqual(kinds(await Promise.all(asking)), ['granted', 'refused']);
});

test('the refusal of another digest is not taken for the own answer', async () => {
  const { gate, origin } = makeWorld();
  const gone = digestNamed('gone');
  gate.learnMembers(alice.origin, alice.repository, [layer, gone]);
  const first = gate.ask(alice, gone, signal());
  const second = gate.ask(alice, layer, signal());
  await settled();
  assert.equal(origin.questions.length, 1);
  origin.at(0).answer(404);
  assert.equal((await first).kind, 'refused');
  await settled();
  assert.equal(origin.at(1).digest, layer);
  origin.at(1).answer(200);
  assert.equal((await second).kind, 'granted');
});

test('a read under way is the question that identical ones wait for', async () => {
  const { gate, origin } = makeWorld();
  const opening = Promise.withResolvers<{ size: number; mediaType: undefined }>();
  const opener = gate.during(alice, layer, opening.promise);
  assert.equal(gate.isPending(alice, layer), true);
  const others = [gate.ask(alice, layer, signal()), gate.ask(alice, layer, signal())];
  await settled();
  assert.equal(origin.questions.length, 0);
  opening.resolve({ size: 77, mediaType: undefined });
  assert.deepEqual(await opener, { kind: 'granted', size: 77, mediaType: undefined });
  assert.deepEqual(kinds(await Promise.all(others)), ['granted', 'granted']);
  assert.equal(origin.questions.length, 0);
  assert.equal(gate.known(alice, layer), true);
});

test('somebody with another credential does not take part in it', async () => {
  const { gate, origin } = makeWorld();
  const opening = Promise.withResolvers<object>();
  const opener = gate.during(alice, layer, opening.promise);
  const eve = gate.ask(upstreamOf('eve'), layer, signal());
  await settled();
  assert.deepEqual(
    origin.questions.map(({ who }) => who),
    ['Bearer eve'],
  );
  opening.resolve({});
  await opener;
  origin.at(0).answer(401);
  assert.equal((await eve).kind, 'refused');
});

test('the refusal of a read under way goes to all who waited for it, with its body', async () => {
  const { gate } = makeWorld();
  gate.learn(alice, digestNamed('another'), 200);
  gate.learnMembers(alice.origin, alice.repository, [digestNamed('third')]);
  const refusal = new OriginRefusal(401, ['Www-Authenticate', 'Basic realm="x"'], Buffer.from('{}'));
  const opening = Promise.withResolvers<object>();
  const opener = gate.during(alice, layer, opening.promise);
  const other = gate.ask(alice, layer, signal());
  opening.reject(refusal);
  for (const verdict of await Promise.all([opener, other])) {
    assert.equal(verdict.kind, 'refused');
    assert.equal(verdict.refusal, refusal);
  }
  assert.equal(gate.known(alice, digestNamed('third')), false, '(a) is forgotten');
});

test('when the reader of the read under way hangs up, the others ask for themselves, once', async () => {
  const { gate, origin } = makeWorld();
  const opening = Promise.withResolvers<object>();
  const opener = gate.during(alice, layer, opening.promise);
  const others = [gate.ask(alice, layer, signal()), gate.ask(alice, layer, signal())];
  await settled();
  const hangUp = new DOMException('gone', 'AbortError');
  opening.reject(hangUp);
  await assert.rejects(opener, (error) => error === hangUp);
  await settled();
  assert.equal(origin.questions.length, 1);
  origin.at(0).answer(200);
  assert.deepEqual(kinds(await Promise.all(others)), ['granted', 'granted']);
});

test('a fault of the read that is not the word of the origin is its own alone', async () => {
  const { gate, origin } = makeWorld();
  const fault = new DamselflyError('digest-mismatch', 'wrong bytes');
  const opening = Promise.withResolvers<object>();
  const opener = gate.during(alice, layer, opening.promise);
  const other = gate.ask(alice, layer, signal());
  await settled();
  opening.reject(fault);
  await assert.rejects(opener, (error) => error === fault);
  await settled();
  origin.at(0).answer(200);
  assert.equal((await other).kind, 'granted');
});

test('patience ends for one waiter; the question goes on for the next', async () => {
  const { gate, origin, outcomes } = makeWorld();
  const hasty = await gate.ask(alice, layer, signal(), { patienceMs: 1 });
  assert.equal(hasty.kind, 'unreachable');
  assert.equal(hasty.error.code, 'rights-unknown');
  assert.equal(hasty.error.facts.because, 'origin-timeout');
  const patient = gate.ask(alice, layer, signal());
  await settled();
  assert.equal(origin.questions.length, 1);
  origin.at(0).answer(200);
  assert.equal((await patient).kind, 'granted');
  assert.deepEqual(await outcomes(), { unreachable: 1, granted: 1 });
});

test('a question has an end of its own, and lets go of the origin', async () => {
  const { gate, origin } = makeWorld({ questionMs: 1 });
  const verdict = await gate.ask(alice, layer, signal(), { patienceMs: 60_000 });
  assert.equal(verdict.kind, 'unreachable');
  assert.equal(verdict.error.code, 'rights-unknown');
  assert.equal(origin.at(0).options.signal.aborted, true);
  assert.equal(gate.isPending(alice, layer), false);
});

test('closing ends what is under way with shutting-down', async () => {
  const { gate, origin } = makeWorld();
  const asking = gate.ask(alice, layer, signal());
  await settled();
  gate.close();
  const verdict = await asking;
  assert.equal(verdict.kind, 'unreachable');
  assert.equal(verdict.error.code, 'shutting-down');
  assert.equal(origin.at(0).options.signal.aborted, true);
});
