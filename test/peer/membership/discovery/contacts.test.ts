import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Member, PeerId } from '../../../../peer/member.ts';
import { Contacts } from '../../../../peer/membership/discovery/contacts.ts';
import { memberOf } from '../../../../peer/membership/row.ts';
import { Random } from '../../../support/random.ts';
import { rowOf } from '../sim-network.ts';

const address = (n: number): string => `/ip4/10.0.0.${n}/tcp/4006`;

function member(id: string, control: readonly string[]): Member {
  return memberOf(rowOf(id, { control }));
}

class Clock {
  ms = 0;
}

function contacts(clock = new Clock()): { contacts: Contacts; clock: Clock } {
  const random = new Random(1);
  return { contacts: new Contacts({ now: () => clock.ms, random: () => random.next() }), clock };
}

describe('Contacts', () => {
  it('gives a few at once, each once, while the node wants more links', () => {
    const { contacts: mine } = contacts();
    mine.found('dns', [1, 2, 3, 4, 5, 6].map(address));
    const first = mine.next([], true);
    assert.equal(first.length, 4);
    assert.deepEqual(mine.next([], true), []);
    for (const each of first) mine.ended(each, { kind: 'failed' }, true);
    const rest = mine.next([], true);
    assert.deepEqual([...first, ...rest].sort(), [1, 2, 3, 4, 5, 6].map(address));
  });

  it('tries one now and then when the node has links enough, to find those behind a partition', () => {
    const { contacts: mine, clock } = contacts();
    mine.found('static', [1, 2].map(address));
    const [one] = mine.next([], false);
    assert.ok(one !== undefined);
    mine.ended(one, { kind: 'failed' }, false);
    assert.deepEqual(mine.next([], false), []);
    clock.ms += 2_000;
    assert.equal(mine.next([], false).length, 1);
  });

  it('leaves out where a live member is known to be, by its address or by whom it met there', () => {
    const { contacts: mine, clock } = contacts();
    mine.found('dns', [1, 2].map(address));
    assert.deepEqual(mine.next([member('a', [address(1)])], true), [address(2)]);
    // A node behind an address that it does not announce.
    mine.ended(address(2), { kind: 'met', id: 'b' as PeerId }, false);
    clock.ms += 60_000;
    const both = [member('a', [address(1)]), member('b', [address(9)])];
    assert.deepEqual(mine.next(both, true), []);
    assert.deepEqual(mine.next(both.slice(0, 1), true), [address(2)]);
  });

  it('never dials itself again', () => {
    const { contacts: mine, clock } = contacts();
    mine.found('dns', [1, 2].map(address));
    mine.isOwn([address(1)]);
    assert.deepEqual(mine.next([], true), [address(2)]);
    mine.ended(address(2), { kind: 'self' }, true);
    clock.ms += 3_600_000;
    assert.deepEqual(mine.next([], true), []);
  });

  it('tries dead ones ever more rarely, and not so rarely while it knows nobody', () => {
    for (const isLonely of [true, false]) {
      const { contacts: mine, clock } = contacts();
      mine.found('static', [address(1)]);
      let tries = 0;
      for (; clock.ms < 300_000; clock.ms += 100) {
        for (const each of mine.next([], true)) {
          tries += 1;
          mine.ended(each, { kind: 'failed' }, isLonely);
        }
      }
      if (isLonely) assert.ok(tries > 80 && tries < 150, `${tries}`);
      else assert.ok(tries > 15 && tries < 40, `${tries}`);
    }
  });

  it('drops what a source does not name any more, unless another does', () => {
    const { contacts: mine } = contacts();
    mine.found('dns', [1, 2].map(address));
    mine.found('static', [address(1)]);
    mine.found('dns', []);
    assert.deepEqual(mine.next([], true), [address(1)]);
    assert.equal(mine.size, 1);
  });

  it('dials with the peer id where somebody named one', () => {
    const { contacts: mine } = contacts();
    mine.found('static', [address(1)]);
    mine.found('mdns', [`${address(1)}/p2p/12D3Koo`]);
    assert.deepEqual(mine.next([], true), [`${address(1)}/p2p/12D3Koo`]);
  });

  it('remembers a bounded number of lost members, for a bounded time', () => {
    const { contacts: mine, clock } = contacts();
    const many = Array.from({ length: 1_000 }, (_, i) => `/ip4/10.1.${i >> 8}.${i & 255}/tcp/4006`);
    mine.remember(many);
    assert.equal(mine.size, 256);
    for (let hour = 0; hour < 48 && mine.size > 0; clock.ms += 1_000) {
      for (const each of mine.next([], true)) mine.ended(each, { kind: 'failed' }, false);
      hour = clock.ms / 3_600_000;
    }
    assert.equal(mine.size, 0);
  });
});
