import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { Gossip } from '../../../peer/membership/gossip.ts';
import type { Message } from '../../../peer/membership/message.ts';
import { type Row, sealRow } from '../../../peer/membership/row.ts';
import { OPEN_SEAL, rowOf } from './sim-network.ts';

const PEER = 'peer' as PeerId;

interface Wire {
  readonly sent: Message[];
  isClosed: boolean;
  send(message: Message): void;
  close(): void;
}

function wire(): Wire {
  const made: Wire = {
    sent: [],
    isClosed: false,
    send: (message) => void made.sent.push(message),
    close: () => {
      made.isClosed = true;
    },
  };
  return made;
}

function gossip(id = 'me'): { mine: Gossip; pass: (ms: number) => void } {
  let nowMs = 0;
  const mine = new Gossip({
    self: rowOf(id),
    seal: OPEN_SEAL,
    now: () => nowMs,
    random: () => 0.5,
    dial: async () => false,
    reach: async () => false,
    flushIn: () => undefined,
    onChange: () => undefined,
    onForgery: () => undefined,
  });
  return {
    mine,
    pass: (ms) => {
      nowMs += ms;
    },
  };
}

function hello(id: string, change: Partial<Row> = {}): Message {
  return {
    kind: 'hello',
    self: { state: 'live', signed: sealRow(rowOf(id, change), OPEN_SEAL) },
    hash: '00'.repeat(8),
  };
}

describe('links between members', () => {
  it('begin with the own row and the hash of the table', () => {
    const { mine } = gossip();
    const made = wire();
    mine.opened(PEER, true, made);
    const [first] = made.sent;
    assert.ok(first?.kind === 'hello');
    assert.equal(first.self.signed.row.id, 'me');
    assert.equal(first.hash, mine.table.hash());
  });

  it('tell the other side at once that it is believed to be gone, or known by a later life', () => {
    for (const later of [false, true]) {
      const { mine } = gossip();
      mine.table.merge(
        {
          state: later ? 'live' : 'gone',
          signed: sealRow(rowOf(PEER, { epoch: later ? 2_000 : 1_000 }), OPEN_SEAL),
        },
        0,
      );
      const made = wire();
      const link = mine.opened(PEER, false, made);
      assert.ok(link !== undefined);
      mine.received(link, hello(PEER));
      const told = made.sent[1];
      assert.ok(told?.kind === 'rows');
      assert.equal(told.entries[0]?.signed.row.id, PEER);
      assert.equal(told.entries[0]?.state, later ? 'live' : 'gone');
    }
  });

  it('are not greeted by somebody else', () => {
    const { mine } = gossip();
    const link = mine.opened(PEER, false, wire());
    assert.ok(link !== undefined);
    mine.received(link, hello('other'));
    assert.equal(link.isGreeted, false);
    assert.equal(mine.table.size, 1);
  });

  it('stay as one when both sides opened one at once, and both keep the same', () => {
    for (const [me, them] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      for (const isOwnFirst of [true, false]) {
        const { mine, pass } = gossip(me);
        const [own, theirs] = [wire(), wire()];
        mine.opened(them as PeerId, isOwnFirst, isOwnFirst ? own : theirs);
        pass(20);
        mine.opened(them as PeerId, !isOwnFirst, isOwnFirst ? theirs : own);
        // The link that the smaller id opened.
        const kept = me === 'a' ? own : theirs;
        const other = me === 'a' ? theirs : own;
        assert.deepEqual([kept.isClosed, other.isClosed], [false, true], `${me}, own first: ${isOwnFirst}`);
        assert.deepEqual(other.sent.at(-1), { kind: 'bye', why: 'duplicate' });
        assert.equal(mine.links().length, 1);
      }
    }
  });

  it('give way to a newer one of the same member', () => {
    const { mine, pass } = gossip('a');
    const [old, fresh] = [wire(), wire()];
    const first = mine.opened(PEER, true, old);
    pass(5_000);
    const second = mine.opened(PEER, false, fresh);
    assert.equal(old.isClosed, true);
    assert.deepEqual(mine.links(), [second]);
    assert.ok(first !== undefined);
    mine.closed(first, false);
    assert.deepEqual(mine.links(), [second]);
  });

  it('send a crowd elsewhere: some rows of others, and a goodbye', () => {
    const { mine } = gossip();
    for (let i = 0; i < 40; i += 1) {
      const link = mine.opened(`early-${i}` as PeerId, false, wire());
      if (link !== undefined && i < 21) mine.received(link, hello(`early-${i}`));
    }
    const made = wire();
    const link = mine.opened(PEER, false, made);
    assert.ok(link !== undefined);
    mine.received(link, hello(PEER));
    assert.deepEqual(
      made.sent.map((message) => message.kind),
      ['hello', 'rows', 'bye'],
    );
    const rows = made.sent[1];
    assert.ok(rows?.kind === 'rows' && rows.entries.length >= 10 && rows.entries.length <= 24);
    assert.deepEqual(made.sent[2], { kind: 'bye', why: 'full' });
    assert.ok(made.isClosed && !mine.links().includes(link));
    assert.equal(mine.table.entry(PEER)?.state, 'live');
  });
});
