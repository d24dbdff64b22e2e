import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Identity } from '../../../peer/identity/identity.ts';
import { verifySignature } from '../../../peer/identity/signature.ts';
import type { PeerId } from '../../../peer/member.ts';
import { type Entry, LIFE_STATES } from '../../../peer/membership/message.ts';
import { type Row, type RowSeal, type SignedRow, sealRow } from '../../../peer/membership/row.ts';
import { MemberTable } from '../../../peer/membership/table.ts';
import { OPEN_SEAL, rowOf } from './sim-network.ts';

const ME = 'me';

function table(change: Partial<Row> = {}): MemberTable {
  return new MemberTable(rowOf(ME, change), OPEN_SEAL, 0);
}

function entry(id: string, state: Entry['state'] = 'live', change: Partial<Row> = {}): Entry {
  return { state, signed: sealRow(rowOf(id, change), OPEN_SEAL) };
}

function ids(of: MemberTable): string[] {
  return of.live().map(({ id }) => id);
}

describe('MemberTable', () => {
  it('lists members sorted by id, itself among them, in one array until something changes', () => {
    const mine = table();
    mine.merge(entry('z'), 0);
    mine.merge(entry('a'), 0);
    assert.deepEqual(ids(mine), ['a', ME, 'z']);
    const before = mine.live();
    assert.equal(mine.merge(entry('z'), 1), 'known');
    assert.equal(mine.live(), before);
    mine.judge('z' as PeerId, 'gone', 2);
    assert.deepEqual(ids(mine), ['a', ME]);
  });

  it('lets the greater epoch win, then the greater version, then the worse state', () => {
    const mine = table();
    mine.merge(entry('a', 'live', { epoch: 5, version: 3 }), 0);
    assert.equal(mine.merge(entry('a', 'gone', { epoch: 4, version: 9 }), 0), 'known');
    assert.equal(mine.merge(entry('a', 'gone', { epoch: 5, version: 2 }), 0), 'known');
    assert.equal(mine.merge(entry('a', 'suspect', { epoch: 5, version: 3 }), 0), 'news');
    assert.equal(mine.merge(entry('a', 'live', { epoch: 5, version: 3 }), 0), 'known');
    assert.equal(mine.merge(entry('a', 'live', { epoch: 5, version: 4 }), 0), 'news');
    assert.equal(mine.merge(entry('a', 'gone', { epoch: 5, version: 4 }), 0), 'news');
    assert.deepEqual(ids(mine), [ME]);
    assert.equal(mine.merge(entry('a', 'live', { epoch: 6 }), 0), 'news');
    assert.equal(mine.live()[0]?.epoch, 6);
  });

  it('answers a false word about itself with a greater version', () => {
    const mine = table();
    assert.equal(mine.merge(entry(ME, 'gone'), 0), 'news');
    assert.equal(mine.self.state, 'live');
    assert.equal(mine.self.signed.row.version, 1);
    assert.deepEqual(ids(mine), [ME]);
  });

  it('outbids its own earlier life, after a lost file or a clock that was set back', () => {
    const mine = table({ epoch: 1_000 });
    mine.merge(entry(ME, 'live', { epoch: 4_600_000, version: 7 }), 0);
    assert.equal(mine.self.member.epoch, 4_600_001);
    assert.equal(mine.self.signed.row.version, 0);
  });

  it('takes nothing back after its goodbye', () => {
    const mine = table();
    mine.renew({ isLeaving: true }, 0);
    assert.deepEqual(ids(mine), []);
    assert.equal(mine.merge(entry(ME, 'gone', { version: 8 }), 0), 'known');
    assert.equal(mine.self.signed.row.isLeaving, true);
  });

  it('takes a goodbye for gone, whatever the state beside it says', () => {
    const mine = table();
    mine.merge(entry('a'), 0);
    mine.merge(entry('a', 'live', { version: 1, isLeaving: true }), 0);
    assert.deepEqual(ids(mine), [ME]);
  });

  it('forgets the gone after ten minutes, and has the same hash before and after', () => {
    const mine = table();
    const alone = mine.hash();
    mine.merge(entry('a'), 0);
    assert.notEqual(mine.hash(), alone);
    mine.judge('a' as PeerId, 'gone', 1_000);
    assert.equal(mine.hash(), alone);
    mine.tidy(500_000);
    assert.equal(mine.size, 2);
    mine.tidy(601_001);
    assert.equal(mine.size, 1);
    assert.equal(mine.hash(), alone);
  });

  it('refuses a row that its member did not sign, and one that was changed on the way', () => {
    const member = Identity.generate();
    const liar = Identity.generate();
    const seal = (by: Identity): RowSeal => ({ sign: (bytes) => by.sign(bytes), verify: verifySignature });
    const mine = new MemberTable(rowOf(liar.id), seal(liar), 0);
    const row = rowOf(member.id);
    const genuine = sealRow(row, seal(member));
    const forged = sealRow({ ...row, epoch: row.epoch + 1 }, seal(liar));
    assert.equal(mine.merge({ state: 'live', signed: forged }, 0), 'forged');
    const bytes = Buffer.from(genuine.bytes);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const changed: SignedRow = { ...genuine, bytes };
    assert.equal(mine.merge({ state: 'live', signed: changed }, 0), 'forged');
    assert.equal(mine.entry(member.id), undefined);
    assert.equal(mine.merge({ state: 'live', signed: genuine }, 0), 'news');
  });

  it('ends the same for the same words in any order, said any number of times', () => {
    const word = fc.record({
      id: fc.constantFrom('a', 'b', 'c'),
      epoch: fc.integer({ min: 1, max: 3 }),
      version: fc.integer({ min: 0, max: 3 }),
      state: fc.constantFrom(...LIFE_STATES),
      isLeaving: fc.boolean(),
    });
    const shuffled = fc
      .array(word, { maxLength: 30 })
      .chain((words) =>
        fc.tuple(
          fc.constant(words),
          fc.shuffledSubarray([...words, ...words], { minLength: words.length * 2 }),
        ),
      );
    const said = (
      words: readonly {
        id: string;
        state: Entry['state'];
        epoch: number;
        version: number;
        isLeaving: boolean;
      }[],
    ) => {
      const mine = table();
      for (const { id, state, ...change } of words) {
        // One member signs one row per version: its goodbye has a version of its own.
        const row = { ...change, version: change.version * 2 + (change.isLeaving ? 1 : 0) };
        mine.merge(entry(id, state, row), 0);
      }
      const rows = [...mine.entries()].map(({ signed, state }) => [
        signed.row.id,
        signed.row.epoch,
        signed.row.version,
        state,
      ]);
      return { hash: mine.hash(), live: ids(mine), rows: rows.sort() };
    };
    fc.assert(fc.property(shuffled, ([words, again]) => assert.deepEqual(said(again), said(words))));
  });
});
