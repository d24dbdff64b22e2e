import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { AntiEntropy } from '../../../peer/membership/anti-entropy.ts';
import { Link } from '../../../peer/membership/link.ts';
import type { Entry, Message } from '../../../peer/membership/message.ts';
import { type Row, sealRow } from '../../../peer/membership/row.ts';
import { MemberTable, type TableEntry } from '../../../peer/membership/table.ts';
import { OPEN_SEAL, rowOf } from './sim-network.ts';

const entry = (id: string, state: Entry['state'] = 'live', change: Partial<Row> = {}): Entry => ({
  state,
  signed: sealRow(rowOf(id, change), OPEN_SEAL),
});

/** One end of a link between two tables, and what it has sent. */
function end(id: string, isOutbound: boolean) {
  const table = new MemberTable(rowOf(id), OPEN_SEAL, 0);
  const sent: Message[] = [];
  const wire = { send: (message: Message) => void sent.push(message), close: () => undefined };
  const link = new Link({ peer: `peer of ${id}` as PeerId, isOutbound, wire, nowMs: 0 });
  const known = (of: string): TableEntry => {
    const found = table.entry(of as PeerId);
    assert.ok(found !== undefined, `${id} does not know ${of}`);
    return found;
  };
  return { table, link, sent, known, entropy: new AntiEntropy(table) };
}

/** Carries what was sent to the other end, to and fro, until nobody says anything. @returns the kinds, in order. */
function settle(a: ReturnType<typeof end>, b: ReturnType<typeof end>): string[] {
  const kinds: string[] = [];
  for (let isMore = true; isMore; ) {
    isMore = false;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const)
      for (const message of from.sent.splice(0)) {
        isMore = true;
        kinds.push(message.kind);
        if (message.kind === 'summary') to.entropy.answer(to.link, message.items);
        else if (message.kind === 'want') to.entropy.give(to.link, message.keys);
        else if (message.kind === 'rows') for (const row of message.entries) to.table.merge(row, 0);
        else assert.fail(message.kind);
      }
  }
  return kinds;
}

describe('AntiEntropy', () => {
  it('tells nobody what he knows, unless he asks', () => {
    const { table, link, sent, known, entropy } = end('a', true);
    table.merge(entry('x'), 0);
    entropy.tell(link, [known('x')]);
    entropy.tell(link, [known('x')]);
    assert.equal(sent.length, 1);
    entropy.give(link, [known('x').key]);
    assert.equal(sent.length, 2);
    table.merge(entry('x', 'suspect'), 0);
    entropy.tell(link, [known('x')]);
    assert.equal(sent.length, 3, 'worse news are news');
  });

  it('does not tell a row back to the one who told it, and tells it when he spoke of an earlier life', () => {
    for (const [epoch, messages] of [
      [7, 0],
      [6, 1],
    ] as const) {
      const { table, link, sent, known, entropy } = end('a', true);
      table.merge(entry('x', 'live', { epoch: 7 }), 0);
      entropy.wasTold(link, known('x'), entry('x', 'live', { epoch }));
      entropy.tell(link, [known('x')]);
      assert.equal(sent.length, messages, `epoch ${epoch}`);
    }
  });

  it('on greeting the one who opened the link sums up, when the hashes differ', () => {
    for (const isOutbound of [true, false]) {
      const { link, sent, entropy, table } = end('a', isOutbound);
      entropy.greeted(link, table.hash(), 0);
      assert.equal(sent.length, 0);
      entropy.greeted(link, 'another', 0);
      assert.deepEqual(
        sent.map(({ kind }) => kind),
        isOutbound ? ['summary'] : [],
      );
    }
  });

  it('a difference is settled when it has lasted, and not again at once', () => {
    const { link, sent, entropy } = end('a', false);
    const summaries = (): number => sent.filter(({ kind }) => kind === 'summary').length;
    entropy.compare(link, 'another', 0);
    entropy.compare(link, 'another', 2_000);
    assert.equal(summaries(), 0, 'news may be under way');
    entropy.compare(link, 'another', 2_001);
    entropy.compare(link, 'another', 7_000);
    assert.equal(summaries(), 1);
    entropy.compare(link, 'another', 7_002);
    assert.equal(summaries(), 2);
  });

  it('one summary makes both tables equal, whoever lacked what; a stranger that is gone is no news', () => {
    const [a, b] = [end('a', true), end('b', false)];
    for (const one of ['a', 'b']) for (const { table } of [a, b]) table.merge(entry(one), 0);
    a.table.merge(entry('of-a'), 0);
    b.table.merge(entry('of-b', 'suspect'), 0);
    a.table.merge(entry('both', 'live', { version: 1 }), 0);
    b.table.merge(entry('both', 'live', { version: 2 }), 0);
    b.table.merge(entry('dead'), 0);
    b.table.merge(entry('dead', 'gone'), 0);
    a.entropy.greeted(a.link, b.table.hash(), 0);
    assert.deepEqual(settle(a, b), ['summary', 'rows', 'want', 'rows']);
    assert.equal(a.known('of-b').state, 'suspect');
    assert.equal(b.known('of-a').state, 'live');
    assert.equal(a.known('both').signed.row.version, 2);
    assert.equal(a.table.entry('dead' as PeerId), undefined);
  });
});
