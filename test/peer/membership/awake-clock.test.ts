import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Member, PeerId } from '../../../peer/member.ts';
import { AwakeClock } from '../../../peer/membership/awake-clock.ts';
import { Gossip } from '../../../peer/membership/gossip.ts';
import { sealRow } from '../../../peer/membership/row.ts';
import { OPEN_SEAL, rowOf } from './sim-network.ts';

describe('AwakeClock', () => {
  it('goes on as time does, but for gaps in which the process stood still', () => {
    let nowMs = 1_000;
    const clock = new AwakeClock(() => nowMs);
    for (let i = 0; i < 8; i += 1) {
      nowMs += 250;
      clock.tick();
    }
    assert.equal(clock.now(), 3_000);
    nowMs += 60_000;
    clock.tick();
    assert.equal(clock.now(), 3_000);
    nowMs += 1_900;
    clock.tick();
    assert.equal(clock.now(), 4_900);
  });

  it('keeps a node that was stopped from holding that time against the others', () => {
    let nowMs = 0;
    const reached: Member[] = [];
    const gossip = new Gossip({
      self: rowOf('me'),
      seal: OPEN_SEAL,
      now: () => nowMs,
      random: () => 0.5,
      dial: () => new Promise(() => undefined),
      reach: (member) => {
        reached.push(member);
        return new Promise(() => undefined);
      },
      flushIn: () => undefined,
      onChange: () => undefined,
      onForgery: () => undefined,
    });
    const wire = { send: () => undefined, close: () => undefined };
    const link = gossip.opened('peer' as PeerId, false, wire);
    assert.ok(link !== undefined);
    const self = { state: 'live' as const, signed: sealRow(rowOf('peer'), OPEN_SEAL) };
    gossip.received(link, { kind: 'hello', self, hash: gossip.table.hash() });
    nowMs += 60_000;
    gossip.tick();
    assert.equal(gossip.links().length, 1);
    assert.deepEqual(reached, []);
    for (let i = 0; i < 60; i += 1) {
      nowMs += 250;
      gossip.tick();
    }
    assert.equal(gossip.links().length, 0, 'but silence while it was awake counts');
    assert.equal(reached.length, 1);
  });
});
