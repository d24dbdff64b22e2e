import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Member, PeerId } from '../../../peer/member.ts';
import type { PieceMark, Realm, Report } from '../../../peer/messages.ts';
import { ProofTeller, type ProofTellerParts } from '../../../peer/swarm/proof-teller.ts';
import { digestOf } from '../../../src/blob/digest.ts';
import { PIECE_BYTES, SEGMENT_PIECES } from '../../../src/blob/piece.ts';

const REALM = '0123456789abcdef' as Realm;
const BLOB = { digest: digestOf(Buffer.from('blob')), size: (SEGMENT_PIECES + 1) * PIECE_BYTES };
const NAME = { realm: REALM, digest: BLOB.digest, segment: 1 };
const member = (id: string): Member => ({ id: id as PeerId, data: [], control: [], zone: '', epoch: 1 });
const SELF = member('self');

function mark(slot: number): PieceMark {
  const voucher = { kind: 'proven' as const, by: SELF.id, signature: new Uint8Array(64) };
  return { slot, sha256: new Uint8Array(32), voucher };
}

function setUp(change: Partial<ProofTellerParts> = {}) {
  const sent: { to: string; report: Report }[] = [];
  const here: [number, number][] = [];
  const members = new Map(['self', 'a', 'b'].map((id) => [id, member(id)]));
  const teller = new ProofTeller({
    view: { self: SELF, find: (id) => members.get(id) },
    exchange: {
      report: async (to, [report]) => {
        if (report !== undefined) sent.push({ to: to.id, report });
      },
    },
    trust: { marks: (_realm, _blob, segment) => [mark(segment)], provenMarks: () => [mark(2)] },
    realmsOf: () => [REALM],
    holders: () => ['self', 'a', 'b', 'left'] as PeerId[],
    held: () => 5,
    load: () => 7,
    here: (_blob, piece, { slot }) => here.push([piece, slot]),
    signal: new AbortController().signal,
    ...change,
  });
  return { teller, sent, here };
}

test('planners hear of every segment, in each realm, and of none after a stop', async () => {
  const { teller, here } = setUp();
  await teller.planners(BLOB);
  assert.deepEqual(here, [
    [0, 0],
    [SEGMENT_PIECES + 1, 1],
  ]);
  const stopped = setUp({ signal: AbortSignal.abort() });
  await stopped.teller.planners(BLOB);
  assert.equal(stopped.here.length, 1);
});

test('all holders of a piece are told, this node and those that left excepted, or the one that said otherwise', () => {
  const { teller, sent } = setUp();
  const place = { realm: REALM, blob: BLOB, piece: SEGMENT_PIECES };
  teller.holders(place, mark(0), undefined);
  assert.deepEqual(
    sent.map(({ to }) => to),
    ['a', 'b'],
  );
  assert.deepEqual(sent[0]?.report, {
    ...NAME,
    ...{ size: BLOB.size, load: 7, held: 5, lost: 0, marks: [mark(0)], leases: [], accused: [] },
  });
  sent.length = 0;
  teller.holders(place, mark(0), 'b' as PeerId);
  assert.deepEqual(
    sent.map(({ to }) => to),
    ['b'],
  );
});

test('a reader is told before it is sent to a holder, for a moment at most', async () => {
  const { teller, sent } = setUp();
  await teller.reader('a' as PeerId, { ...NAME, size: BLOB.size }, 4);
  assert.equal(sent.length, 1);
  const stuck = setUp({ exchange: { report: () => new Promise(() => undefined) } });
  await stuck.teller.reader('a' as PeerId, { ...NAME, size: BLOB.size }, 4);
  const broken = setUp({ exchange: { report: () => Promise.reject(new Error('gone')) } });
  await broken.teller.reader('a' as PeerId, { ...NAME, size: BLOB.size }, 4);
});

test('nothing is said where there is nothing to tell', () => {
  const { teller, sent } = setUp({ trust: { marks: () => [], provenMarks: () => [] } });
  assert.equal(teller.reader('a' as PeerId, { ...NAME, size: BLOB.size }, 4), undefined);
  const { teller: other } = setUp();
  assert.equal(other.reader('a' as PeerId, { ...NAME, size: undefined }, 4), undefined);
  assert.equal(other.reader('left' as PeerId, { ...NAME, size: BLOB.size }, 4), undefined);
  assert.deepEqual(sent, []);
});
