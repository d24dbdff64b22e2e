import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { Claims } from '../../../peer/trust/claims.ts';
import { Distrust } from '../../../peer/trust/distrust.ts';
import { ProvenLists } from '../../../peer/trust/proven-lists.ts';
import { Standing } from '../../../peer/trust/standing.ts';
import type { PieceFact } from '../../../peer/trust/statement.ts';
import { Testimony } from '../../../peer/trust/testimony.ts';
import { VoucherBook } from '../../../peer/trust/voucher-book.ts';
import { blobOf, FakeStore, factOf, Keys, REALM, sha256Of } from './support.ts';

const blob = blobOf(4);
const [A, B] = ['a', 'b'] as PeerId[];

function setUp() {
  const keys = new Keys();
  const notary = keys.notary('self');
  const shelf = new FakeStore();
  const claims = new Claims();
  const proofs = new ProvenLists(shelf);
  const facts = { load: () => [], put: () => undefined, remove: () => undefined };
  const book = new VoucherBook({ notary, facts, shelf, proofs });
  const standing = new Standing({ now: () => 0, onQuarantine: () => undefined });
  const distrust = new Distrust(() => 0);
  const testimony = new Testimony({ notary, claims, proofs, book, standing, distrust });
  const say = (by: PeerId | undefined, kind: 'attested' | 'proven', fact: PieceFact): void => {
    claims.add({ fact, voucher: keys.notary(by ?? '').vouch(kind, fact) }, () => 'counts');
  };
  return { notary, shelf, claims, proofs, book, standing, distrust, testimony, say };
}

test('whose word counts: own always, of the quarantined never, of the accused less on that blob', () => {
  const { testimony, standing, distrust } = setUp();
  assert.ok(A !== undefined && B !== undefined);
  const weight = (by: PeerId, of = blob) => testimony.weight(REALM, of.digest, by);
  standing.note(A, 'lied');
  distrust.heard('c' as PeerId, REALM, blob.digest, B);
  assert.equal(weight('self' as PeerId), 'counts');
  assert.equal(weight(A), 'ignored');
  assert.equal(weight(B), 'contests');
  assert.equal(weight(B, blobOf(4, 'another')), 'counts');
});

test('what came from a peer speaks with those who were heard, and whom nobody hears is left out', () => {
  const { testimony, book, notary, standing, say } = setUp();
  assert.ok(A !== undefined && B !== undefined);
  const fact = factOf(blob, 0);
  book.received(fact, { ...notary.vouch('attested', fact), by: A });
  say(B, 'attested', factOf(blob, 0, 1));
  const speakers = () => testimony.of(fact).claims.map(({ voucher }) => voucher.by);
  assert.deepEqual(speakers().sort(), [A, B]);
  standing.note(A, 'lied');
  assert.deepEqual(speakers(), [B]);
  assert.equal(testimony.of(fact).own, undefined);
});

test('what this node read from the origin is its own evidence, and not a claim', () => {
  const { testimony, book } = setUp();
  book.readFromOrigin(factOf(blob, 1));
  const { own, claims } = testimony.of(factOf(blob, 1));
  assert.deepEqual(own, sha256Of(blob, 1));
  assert.deepEqual(claims, []);
});

test('a mark that is known to be right: of a blob proven here it is signed by this node', () => {
  const { testimony, shelf, proofs, notary } = setUp();
  for (let piece = 0; piece < 4; piece += 1) shelf.store(factOf(blob, piece));
  assert.ok(proofs.keep(blob));
  const fact = factOf(blob, 2);
  assert.deepEqual(testimony.provenMark(fact), {
    slot: 2,
    sha256: fact.sha256,
    voucher: notary.vouch('proven', fact),
  });
});

test('else by the one member that proved it, unless it is in doubt or another proved otherwise', () => {
  const { testimony, distrust, say } = setUp();
  assert.ok(A !== undefined && B !== undefined);
  const fact = factOf(blob, 3);
  say(B, 'attested', fact);
  assert.equal(testimony.provenMark(fact), undefined, 'attested is not proven');
  say(A, 'proven', fact);
  assert.equal(testimony.provenMark(fact)?.voucher.by, A);
  distrust.heard('c' as PeerId, REALM, blob.digest, A);
  assert.equal(testimony.provenMark(fact), undefined, 'in doubt');
  const two = setUp();
  two.say(A, 'proven', fact);
  two.say(B, 'proven', factOf(blob, 3, 1));
  assert.equal(two.testimony.provenMark(fact), undefined, 'two lists');
});
