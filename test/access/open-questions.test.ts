import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenQuestions } from '../../src/access/open-questions.ts';
import type { Verdict } from '../../src/access/verdict.ts';
import { Credential } from '../../src/blob/credential.ts';
import { digestOf } from '../../src/blob/digest.ts';
import type { OriginId, Upstream } from '../../src/blob/upstream.ts';

const UPSTREAM: Upstream = {
  origin: 'https://a' as OriginId,
  repository: 'lab/app',
  kind: 'blob',
  credential: Credential.anonymous,
};
const [ONE, TWO] = [digestOf(Buffer.from('1')), digestOf(Buffer.from('2'))] as const;

test('a question is found by whoever has the same one, until it is answered', async () => {
  const questions = new OpenQuestions();
  const asked = Promise.withResolvers<Verdict | null>();
  const question = questions.add('reader', UPSTREAM, ONE, asked.promise);
  assert.equal(questions.same('reader', UPSTREAM, ONE), question);
  assert.equal(questions.same('another', UPSTREAM, ONE), undefined);
  assert.equal(questions.same('reader', UPSTREAM, TWO), undefined);
  assert.equal(questions.same('reader', { ...UPSTREAM, kind: 'manifest' }, ONE), undefined);
  asked.resolve({ kind: 'granted' });
  assert.deepEqual(await question.answer, { kind: 'granted' });
  assert.equal(questions.same('reader', UPSTREAM, ONE), undefined);
});

test('the first question of a requester leads, and the next one once it is answered', async () => {
  const questions = new OpenQuestions();
  const [first, second] = [Promise.withResolvers<null>(), Promise.withResolvers<null>()];
  const leader = questions.add('reader', UPSTREAM, ONE, first.promise);
  questions.add('reader', UPSTREAM, TWO, second.promise);
  assert.equal(questions.leader('reader'), leader);
  assert.equal(questions.leader('another'), undefined);
  first.resolve(null);
  await leader.answer;
  assert.equal(questions.leader('reader'), undefined);
  const next = questions.add('reader', UPSTREAM, ONE, Promise.resolve(null));
  assert.equal(questions.leader('reader'), next);
  second.resolve(null);
  await next.answer;
});

test('one that is asked beside the same one does not take its place, nor end it', async () => {
  const questions = new OpenQuestions();
  const slow = Promise.withResolvers<null>();
  const first = questions.add('reader', UPSTREAM, ONE, slow.promise);
  await questions.add('reader', UPSTREAM, ONE, Promise.resolve(null)).answer;
  assert.equal(questions.same('reader', UPSTREAM, ONE), first);
  slow.resolve(null);
  await first.answer;
  assert.equal(questions.same('reader', UPSTREAM, ONE), undefined);
});
