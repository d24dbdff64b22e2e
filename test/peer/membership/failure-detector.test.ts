import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Member, PeerId } from '../../../peer/member.ts';
import { FailureDetector, OBJECTION_MS, SILENCE_MS } from '../../../peer/membership/failure-detector.ts';
import { Link } from '../../../peer/membership/link.ts';
import type { Message } from '../../../peer/membership/message.ts';
import { Pulse } from '../../../peer/membership/pulse.ts';
import { sealRow } from '../../../peer/membership/row.ts';
import { MemberTable } from '../../../peer/membership/table.ts';
import { Random } from '../../support/random.ts';
import { OPEN_SEAL, rowOf } from './sim-network.ts';

const TARGET = 'target' as PeerId;

/** One member that is looked for, and helpers that are linked. */
function scene(helpers: readonly string[]) {
  let nowMs = 0;
  const table = new MemberTable(rowOf('me'), OPEN_SEAL, 0);
  const pulse = new Pulse(table);
  const sent: { to: string; message: Message }[] = [];
  const reached: string[] = [];
  let answer = Promise.withResolvers<boolean>();
  for (const id of [TARGET, ...helpers]) {
    table.merge({ state: 'live', signed: sealRow(rowOf(id), OPEN_SEAL) }, 0);
    pulse.noteAlive(id as PeerId, 0);
  }
  const links = helpers.map((id) => {
    const wire = { send: (message: Message) => void sent.push({ to: id, message }), close: () => undefined };
    const link = new Link({ peer: id as PeerId, isOutbound: true, wire, nowMs: 0 });
    link.isGreeted = true;
    return link;
  });
  const random = new Random(1);
  const detector = new FailureDetector({
    table,
    pulse,
    links: () => links,
    random: () => random.next(),
    reach: (member: Member) => {
      reached.push(member.id);
      answer = Promise.withResolvers<boolean>();
      return answer.promise;
    },
    now: () => nowMs,
    onVerdict: () => undefined,
  });
  return {
    table,
    pulse,
    detector,
    links,
    sent,
    reached,
    state: () => table.entry(TARGET)?.state,
    nonce: () => sent.flatMap(({ message }) => (message.kind === 'probe' ? message.nonce : []))[0] ?? -1,
    pass: (ms: number) => {
      nowMs += ms;
      for (const id of helpers) pulse.noteAlive(id as PeerId, nowMs);
      detector.tick();
    },
    answer: async (isAlive: boolean) => {
      answer.resolve(isAlive);
      await answer.promise;
      await Promise.resolve();
    },
  };
}

describe('FailureDetector', () => {
  it('looks for one that is silent, and leaves it alone when it answers', async () => {
    const s = scene(['a', 'b', 'c']);
    s.pass(SILENCE_MS);
    assert.deepEqual(s.reached, []);
    s.pass(1_001);
    assert.deepEqual(s.reached, [TARGET]);
    await s.answer(true);
    s.pass(SILENCE_MS - 1);
    assert.deepEqual(s.reached, [TARGET]);
    assert.equal(s.state(), 'live');
    assert.deepEqual(s.sent, []);
  });

  it('asks two others when it does not answer, and believes the one that reaches it', async () => {
    const s = scene(['a', 'b', 'c']);
    s.pass(10);
    s.detector.doubt(TARGET);
    await s.answer(false);
    assert.equal(s.sent.length, 2);
    assert.notEqual(s.sent[0]?.to, s.sent[1]?.to);
    s.detector.answered(s.nonce() + 1, true);
    s.detector.answered(s.nonce(), false);
    s.detector.answered(s.nonce(), true);
    s.pass(20_000);
    assert.equal(s.state(), 'live');
  });

  it('suspects it when they do not reach it either, and takes it for gone when it does not object', async () => {
    const s = scene(['a', 'b']);
    s.pass(10);
    s.detector.doubt(TARGET);
    await s.answer(false);
    s.detector.answered(s.nonce(), false);
    assert.equal(s.state(), 'live');
    s.detector.answered(s.nonce(), false);
    assert.equal(s.state(), 'suspect');
    s.pass(OBJECTION_MS);
    assert.equal(s.state(), 'suspect');
    s.pass(1_001);
    assert.equal(s.state(), 'gone');
  });

  it('lets an objection stand', async () => {
    const s = scene([]);
    s.pass(10);
    s.detector.doubt(TARGET);
    await s.answer(false);
    assert.equal(s.state(), 'suspect');
    s.table.merge({ state: 'live', signed: sealRow(rowOf(TARGET, { version: 1 }), OPEN_SEAL) }, 10);
    s.pulse.noteAlive(TARGET, 10);
    s.pass(OBJECTION_MS + 1_001);
    assert.equal(s.state(), 'live');
  });

  it('waits for nobody for ever', () => {
    const s = scene(['a']);
    s.pass(10);
    s.detector.doubt(TARGET);
    s.pass(3_000);
    assert.equal(s.sent.length, 1);
    s.pass(4_000);
    assert.equal(s.state(), 'suspect');
  });

  it('does not suspect one that was heard of by other means meanwhile', async () => {
    const s = scene(['a']);
    s.pass(10);
    s.detector.doubt(TARGET);
    await s.answer(false);
    s.pass(100);
    s.pulse.noteAlive(TARGET, 110);
    s.detector.answered(s.nonce(), false);
    assert.equal(s.state(), 'live');
  });

  it('is not led on by complaint after complaint', async () => {
    const s = scene(['a']);
    s.pass(10);
    for (let i = 0; i < 10; i += 1) s.detector.doubt(TARGET);
    await s.answer(true);
    for (let i = 0; i < 10; i += 1) s.detector.doubt(TARGET);
    assert.equal(s.reached.length, 1);
    s.pass(2_001);
    s.detector.doubt(TARGET);
    assert.equal(s.reached.length, 2);
  });

  it('tries for others, and tells them', async () => {
    const s = scene(['a']);
    const [link] = s.links as [Link];
    const served = s.detector.serve(link, 7, TARGET);
    await s.answer(true);
    await served;
    await s.detector.serve(link, 8, 'nobody' as PeerId);
    assert.deepEqual(s.sent, [{ to: 'a', message: { kind: 'probed', nonce: 7, isAlive: true } }]);
  });
});
