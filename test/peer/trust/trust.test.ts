import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { maskOf } from '../../../peer/piece-mask.ts';
import type { PieceFact } from '../../../peer/trust/statement.ts';
import { digestOf } from '../../../src/blob/digest.ts';
import type { KnownBlob } from '../../../src/blob/source.ts';
import { blobOf, factOf, Keys, lengthOf, REALM, sha256Of, TrustNode } from './support.ts';

const BLOB = blobOf(20);

function nodes<const N extends readonly string[]>(
  ...names: N
): { [K in keyof N]: TrustNode } & { keys: Keys } {
  const keys = new Keys();
  return Object.assign(names.map((name) => new TrustNode(keys, name)) as { [K in keyof N]: TrustNode }, {
    keys,
  });
}

/** Makes the node hold the whole blob, right, and prove it. */
function prove(node: TrustNode, blob: KnownBlob = BLOB): void {
  for (let piece = 0; piece * (1 << 20) < blob.size; piece += 1) node.store.store(factOf(blob, piece));
  node.store.provenBlobs.add(blob.digest);
  assert.equal(node.trust.proven(blob), true);
}

function tell(
  to: TrustNode,
  from: TrustNode,
  facts: readonly PieceFact[],
  kind: 'attested' | 'proven',
  by = from,
): void {
  const marks = facts.map((fact) => ({
    slot: fact.piece % 16,
    sha256: fact.sha256,
    voucher: by.notary.vouch(kind, fact),
  }));
  const [first] = facts;
  const segment = Math.floor((first?.piece ?? 0) / 16);
  to.trust.heard(from.name, {
    realm: REALM,
    digest: BLOB.digest,
    size: BLOB.size,
    segment,
    marks,
    accused: [],
  });
}

function accuse(to: TrustNode, from: TrustNode, by: TrustNode): void {
  const accused = [{ slot: 0, by: by.name }];
  to.trust.heard(from.name, { realm: REALM, ...BLOB, segment: 0, marks: [], accused });
}

test('a piece goes from reader to reader with the word of the one who read it from the origin', () => {
  const [a, b, c] = nodes('a', 'b', 'c');
  const fact = factOf(BLOB, 3);
  a.reads(fact);
  assert.deepEqual(b.gets(a, fact), { taken: true, as: 'attested' });
  assert.deepEqual(c.gets(b, fact), { taken: true, as: 'attested' });
  assert.equal(c.trust.voucherFor(fact)?.by, 'a');
  assert.deepEqual(
    c.trust
      .marks(REALM, BLOB, 0, maskOf([2, 3]))
      .map(({ slot, voucher }) => [slot, voucher.by, voucher.kind]),
    [[3, 'a', 'attested']],
  );
});

test('whoever gets its own word back takes it', () => {
  const [a, b] = nodes('a', 'b');
  const fact = factOf(BLOB, 3);
  a.reads(fact);
  b.gets(a, fact);
  a.store.remove(BLOB.digest, 3);
  a.trust.lost(BLOB, 0);
  assert.equal(a.trust.voucherFor(fact), null);
  assert.deepEqual(a.gets(b, fact), { taken: true, as: 'attested' });
});

test('bytes of another length, or that are not what was signed, are the fault of the sender', () => {
  const [a, b, c, d] = nodes('a', 'b', 'c', 'd');
  const fact = factOf(BLOB, 3);
  const voucher = a.notary.vouch('attested', fact);
  const short = b.trust.receive(c.name, fact, lengthOf(fact) - 1, voucher);
  assert.deepEqual(short, { taken: false, why: 'length', next: 'holder' });
  assert.equal(b.trust.standing.isQuarantined(c.name), true);
  const other = factOf(BLOB, 3, 1);
  const changed = b.trust.receive(d.name, other, lengthOf(other), voucher);
  assert.deepEqual(changed, { taken: false, why: 'signature', next: 'holder' });
  assert.equal(b.trust.standing.isQuarantined(d.name), true);
  assert.equal(b.trust.standing.isQuarantined(a.name), false);
  assert.deepEqual(
    b.quarantined.map(({ peer, why }) => [peer, why]),
    [
      ['c', 'wrong'],
      ['d', 'wrong'],
    ],
  );
});

test('a piece that is no piece of the blob is refused', () => {
  const [a, b] = nodes('a', 'b');
  const fact = { ...factOf(BLOB, 3), piece: 20 };
  const verdict = b.trust.receive(a.name, fact, 1000, a.notary.vouch('attested', factOf(BLOB, 3)));
  assert.equal(verdict.taken || verdict.why, 'length');
});

test('two attestations that disagree: neither is used, and the origin names the wrong one', () => {
  const [a, liar, b] = nodes('a', 'liar', 'b');
  const [right, wrong] = [factOf(BLOB, 3), factOf(BLOB, 3, 1)];
  a.reads(right);
  liar.reads(wrong);
  assert.equal(b.gets(liar, wrong)?.taken, true);
  assert.deepEqual(b.gets(a, right), { taken: false, why: 'contested', next: 'origin' });
  assert.deepEqual(b.dropped, [{ piece: 3, why: 'contested' }]);
  assert.deepEqual(b.gets(liar, wrong), { taken: false, why: 'contested', next: 'origin' });
  b.reads(right);
  assert.deepEqual(
    b.quarantined.map(({ peer, why }) => [peer, why]),
    [['liar', 'lied']],
  );
  assert.deepEqual(
    b.accused.map(({ by, place }) => [by, place.piece]),
    [['liar', 3]],
  );
  assert.equal(b.trust.voucherFor(right)?.by, 'b');
  assert.equal(b.trust.standing.isQuarantined(a.name), false);
});

test('in a realm that the operator did not list the origin names nobody for good', () => {
  const keys = new Keys();
  const b = new TrustNode(keys, 'b', { isListed: false });
  const liar = new TrustNode(keys, 'liar');
  const [right, wrong] = [factOf(BLOB, 3), factOf(BLOB, 3, 1)];
  liar.reads(wrong);
  b.reads(right);
  tell(b, liar, [wrong], 'attested');
  assert.deepEqual(b.quarantined, []);
  assert.deepEqual(
    b.accused.map(({ by }) => by),
    ['liar'],
  );
  const next = factOf(BLOB, 4, 1);
  liar.reads(next);
  assert.deepEqual(b.gets(liar, next), { taken: false, why: 'distrusted', next: 'holder' });
  const elsewhere = factOf(BLOB, 4, 0, 'fedcba9876543210' as typeof REALM);
  liar.reads(elsewhere);
  assert.equal(b.gets(liar, elsewhere)?.taken, true, 'its word is as good as before in other realms');
});

test('a proven word beats an attestation: the holder drops what disagrees and takes what agrees', () => {
  const [liar, prover, b] = nodes('liar', 'prover', 'b');
  const [right, wrong] = [factOf(BLOB, 3), factOf(BLOB, 3, 1)];
  liar.reads(wrong);
  assert.equal(b.gets(liar, wrong)?.taken, true);
  prove(prover);
  tell(b, prover, [right], 'proven');
  assert.deepEqual(b.dropped, [{ piece: 3, why: 'contradicts-proven' }]);
  assert.deepEqual(b.gets(liar, wrong), { taken: false, why: 'contradicts-proven', next: 'holder' });
  assert.deepEqual(b.gets(prover, right), { taken: true, as: 'proven' });
  assert.deepEqual(b.quarantined, [], "the prover's word is not evidence that b has seen");
});

test('whoever plans tells the holders; and a holder that speaks later is told itself', () => {
  const [liar, prover, planner, late] = nodes('liar', 'prover', 'planner', 'late');
  const [right, wrong] = [factOf(BLOB, 3), factOf(BLOB, 3, 1)];
  tell(planner, liar, [wrong], 'attested');
  assert.equal(planner.told.length, 0);
  tell(planner, prover, [right], 'proven');
  assert.deepEqual(
    planner.told.map(({ to, mark }) => [to, mark.slot, mark.voucher.by]),
    [[undefined, 3, 'prover']],
  );
  tell(planner, late, [wrong], 'attested', liar);
  assert.equal(planner.told.length, 2);
  assert.equal(planner.told[1]?.to, 'late');
  assert.deepEqual(planner.told[1]?.mark.sha256, right.sha256);
  tell(planner, late, [right], 'proven', prover);
  assert.equal(planner.told.length, 2);
});

test('a planner that has proven the blob itself tells them as well, and cuts the liar off', () => {
  const [liar, holder, planner] = nodes('liar', 'holder', 'planner');
  prove(planner);
  const wrong = factOf(BLOB, 3, 1);
  tell(planner, holder, [wrong], 'attested', liar);
  assert.deepEqual(
    planner.told.map(({ to, mark }) => [to, mark.voucher.kind, mark.voucher.by]),
    [['holder', 'proven', 'planner']],
  );
  assert.deepEqual(
    planner.quarantined.map(({ peer }) => peer),
    ['liar'],
  );
});

test('what was read from the origin gives way to a proven word once; if the origin insists, it stands', () => {
  const [p, b] = nodes('p', 'b');
  const [mine, theirs] = [factOf(BLOB, 3, 1), factOf(BLOB, 3)];
  b.reads(mine);
  tell(b, p, [theirs], 'proven');
  assert.deepEqual(b.dropped, [{ piece: 3, why: 'contradicts-proven' }]);
  b.reads(mine);
  assert.equal(b.dropped.length, 1);
  assert.equal(b.trust.voucherFor(mine)?.by, 'b');
  assert.deepEqual(b.quarantined, [], 'which of the two is wrong only a proof can tell');
  assert.equal(b.gets(p, factOf(BLOB, 4)), null);
});

test('a blob proven here names whoever signed otherwise, and all that is here on its word goes', () => {
  const [liar, b] = nodes('liar', 'b');
  const elsewhere = blobOf(5, 'another blob');
  liar.reads(factOf(elsewhere, 2, 1));
  assert.equal(b.gets(liar, factOf(elsewhere, 2, 1))?.taken, true);
  tell(b, liar, [factOf(BLOB, 3, 1), factOf(BLOB, 4)], 'attested');
  prove(b);
  assert.deepEqual(
    b.quarantined.map(({ peer, why }) => [peer, why]),
    [['liar', 'lied']],
  );
  assert.deepEqual(
    b.accused.map(({ place }) => place.piece),
    [3],
  );
  assert.deepEqual(b.dropped, [{ piece: 2, why: 'liar' }]);
  liar.reads(factOf(elsewhere, 0));
  assert.equal(b.gets(liar, factOf(elsewhere, 0))?.taken, false);
});

test('a piece that others vouch for as well stays when one of them is cut off', () => {
  const [liar, a, b] = nodes('liar', 'a', 'b');
  const fact = factOf(BLOB, 5);
  liar.reads(fact);
  b.gets(liar, fact);
  tell(b, a, [fact], 'attested');
  tell(b, a, [fact], 'proven');
  b.trust.standing.note(liar.name, 'lied');
  assert.deepEqual(b.dropped, []);
  assert.equal(b.trust.voucherFor(fact)?.by, 'a');
});

test('what was proven here is known also after some of it was evicted', () => {
  const [liar, a, b] = nodes('liar', 'a', 'b');
  prove(b);
  for (let piece = 0; piece < 16; piece += 1) b.store.remove(BLOB.digest, piece);
  b.trust.lost(BLOB, 0);
  liar.reads(factOf(BLOB, 3, 1));
  assert.deepEqual(b.gets(liar, factOf(BLOB, 3, 1)), {
    taken: false,
    why: 'contradicts-proof',
    next: 'holder',
  });
  assert.equal(b.trust.standing.isQuarantined(liar.name), true);
  a.reads(factOf(BLOB, 3));
  assert.deepEqual(b.gets(a, factOf(BLOB, 3)), { taken: true, as: 'proven' });
  assert.equal(b.trust.voucherFor(factOf(BLOB, 3))?.by, 'b');
  assert.equal(b.trust.voucherFor(factOf(BLOB, 17))?.kind, 'proven');
  b.trust.readFromOrigin(factOf(BLOB, 4, 1));
  assert.deepEqual(b.dropped, [{ piece: 4, why: 'contradicts-proof' }], 'the origin itself may err');
});

test('and after a restart: of all that is whole, and of the rest of what is not', () => {
  const keys = new Keys();
  const [a, liar] = [new TrustNode(keys, 'a'), new TrustNode(keys, 'liar')];
  const other = blobOf(3, 'another blob');
  prove(a);
  prove(a, other);
  a.store.remove(BLOB.digest, 17);
  a.trust.lost(BLOB, 1);
  a.trust.book.flush();
  const again = new TrustNode(keys, 'a', { store: a.store });
  again.trust.opened([BLOB, other]);
  assert.equal(again.trust.voucherFor(factOf(BLOB, 3))?.kind, 'proven');
  assert.equal(again.trust.voucherFor(factOf(other, 1))?.kind, 'proven');
  tell(again, liar, [factOf(BLOB, 3, 1)], 'proven');
  assert.deepEqual(again.dropped, []);
  assert.deepEqual(
    again.quarantined.map(({ peer }) => peer),
    ['liar'],
  );
  // Now the other one loses a piece.
  again.store.remove(other.digest, 0);
  again.trust.lost(other, 0);
  assert.equal(again.trust.voucherFor(factOf(other, 2))?.kind, 'proven');
  liar.reads(factOf(other, 0, 1));
  assert.equal(
    again.trust.receive(a.name, factOf(other, 0), 1 << 20, a.notary.vouch('attested', factOf(other, 0)))
      .taken,
    true,
  );
});

test('two proven words of one member on one piece are a lie by themselves', () => {
  const [liar, b] = nodes('liar', 'b');
  tell(b, liar, [factOf(BLOB, 3, 1)], 'proven');
  tell(b, liar, [factOf(BLOB, 3, 2)], 'proven');
  assert.deepEqual(
    b.quarantined.map(({ peer, why }) => [peer, why]),
    [['liar', 'lied']],
  );
  const [a, c] = nodes('a', 'c');
  tell(c, a, [factOf(BLOB, 3, 1)], 'attested');
  tell(c, a, [factOf(BLOB, 3, 2)], 'attested');
  assert.deepEqual(c.quarantined, [], 'an attester may have read the origin twice');
});

test('an accusation without evidence costs the accused its word on that blob, and nothing else', () => {
  const [a, liar, b] = nodes('a', 'liar', 'b');
  const elsewhere = blobOf(5, 'another blob');
  a.reads(factOf(BLOB, 0));
  b.gets(a, factOf(BLOB, 0));
  accuse(b, liar, a);
  assert.deepEqual([b.quarantined, b.dropped], [[], []]);
  a.reads(factOf(BLOB, 1));
  assert.deepEqual(b.gets(a, factOf(BLOB, 1)), { taken: false, why: 'distrusted', next: 'holder' });
  a.reads(factOf(elsewhere, 1));
  assert.equal(b.gets(a, factOf(elsewhere, 1))?.taken, true);
  accuse(b, liar, b);
  b.reads(factOf(BLOB, 2));
  assert.ok(b.trust.voucherFor(factOf(BLOB, 2)), 'accused itself it knows better');
});

test('an accused prover still contests: nobody is talked out of a proof', () => {
  const [p, liar, b, c] = nodes('p', 'liar', 'b', 'c');
  liar.reads(factOf(BLOB, 3, 1));
  tell(b, p, [factOf(BLOB, 3)], 'proven');
  accuse(b, liar, p);
  accuse(c, liar, p);
  tell(c, p, [factOf(BLOB, 3)], 'proven');
  for (const node of [b, c])
    assert.deepEqual(node.gets(liar, factOf(BLOB, 3, 1)), { taken: false, why: 'contested', next: 'origin' });
});

test('what is proven here is taken from anybody', () => {
  const [a, b] = nodes('a', 'b');
  prove(b);
  b.store.remove(BLOB.digest, 3);
  b.trust.lost(BLOB, 0);
  b.trust.standing.note(a.name, 'lied');
  a.reads(factOf(BLOB, 3));
  assert.equal(b.gets(a, factOf(BLOB, 3))?.taken, true);
});

test('nothing that a quarantined member says is heard, whoever passes its word on', () => {
  const [liar, a, b] = nodes('liar', 'a', 'b');
  b.trust.standing.note(liar.name, 'lied');
  liar.reads(factOf(BLOB, 3, 1));
  a.gets(liar, factOf(BLOB, 3, 1));
  assert.deepEqual(b.gets(a, factOf(BLOB, 3, 1)), { taken: false, why: 'quarantined', next: 'holder' });
  assert.equal(b.trust.standing.isQuarantined(a.name), false, 'a did not know');
  tell(b, liar, [factOf(BLOB, 4, 1)], 'proven');
  tell(b, a, [factOf(BLOB, 5, 1)], 'proven', liar);
  accuse(b, liar, a);
  for (const piece of [4, 5]) {
    a.reads(factOf(BLOB, piece));
    assert.equal(b.gets(a, factOf(BLOB, piece))?.taken, true);
  }
});

test('a blob that did not match is read from the origin, which names the liar', () => {
  const [liar, a, b] = nodes('liar', 'a', 'b');
  for (let piece = 0; piece < 20; piece += 1) {
    const fact = factOf(BLOB, piece, piece === 7 ? 1 : 0);
    const from = piece === 7 ? liar : a;
    if (piece === 9) b.reads(fact);
    else {
      from.reads(fact);
      assert.equal(b.gets(from, fact)?.taken, true);
    }
  }
  b.trust.mismatched(BLOB);
  b.store.drop(BLOB);
  assert.equal(b.trust.isSuspect(BLOB.digest), true);
  assert.deepEqual(b.gets(a, factOf(BLOB, 0)), { taken: false, why: 'suspect', next: 'origin' });
  assert.deepEqual(b.quarantined, []);
  for (let piece = 0; piece < 8; piece += 1) b.reads(factOf(BLOB, piece));
  assert.deepEqual(
    b.quarantined.map(({ peer }) => peer),
    ['liar'],
  );
  assert.deepEqual(
    b.accused.map(({ by, place }) => [by, place.piece]),
    [['liar', 7]],
  );
  prove(b);
  assert.equal(b.trust.isSuspect(BLOB.digest), false);
  assert.equal(b.trust.standing.isQuarantined(a.name), false);
  assert.equal(b.accused.length, 1);
});

test('a node whose own origin erred takes its word back', () => {
  const [b] = nodes('b');
  for (let piece = 0; piece < 20; piece += 1) b.reads(factOf(BLOB, piece, piece === 7 ? 1 : 0));
  b.trust.mismatched(BLOB);
  b.store.drop(BLOB);
  for (let piece = 0; piece < 20; piece += 1) b.reads(factOf(BLOB, piece));
  assert.deepEqual(
    b.accused.map(({ by, place }) => [by, place.piece]),
    [['b' as PeerId, 7]],
  );
  assert.deepEqual(b.quarantined, []);
});

test('a blob of one piece needs no voucher to be right, and none makes it so', () => {
  const [a, b, c] = nodes('a', 'b', 'c');
  const bytes = Buffer.from('{"schemaVersion":2}');
  const digest = digestOf(bytes);
  const blob = { digest, size: bytes.length };
  const right = { realm: REALM, ...blob, piece: 0, sha256: Buffer.from(digest.slice(7), 'hex') };
  const wrong = { ...right, sha256: sha256Of(BLOB, 0) };
  assert.deepEqual(b.trust.receive(a.name, right, bytes.length, a.notary.vouch('attested', right)), {
    taken: true,
    as: 'proven',
  });
  const verdict = b.trust.receive(c.name, wrong, bytes.length, c.notary.vouch('proven', wrong));
  assert.deepEqual(verdict, { taken: false, why: 'contradicts-proof', next: 'holder' });
  assert.equal(b.trust.standing.isQuarantined(c.name), true);
});

test('vouchers of a piece that everybody agrees on are checked once by a planner', () => {
  const keys = new Keys();
  const [planner, a, b] = ['planner', 'a', 'b'].map((name) => new TrustNode(keys, name)) as [
    TrustNode,
    TrustNode,
    TrustNode,
  ];
  for (let n = 0; n < 100; n += 1) tell(planner, n % 2 === 0 ? a : b, [factOf(BLOB, 3)], 'attested', a);
  for (let n = 0; n < 100; n += 1) tell(planner, b, [factOf(BLOB, 3)], 'attested');
  assert.equal(keys.verified, 1);
});

test('a mark that is not signed is the fault of whoever reports it', () => {
  const [a, b, forger] = nodes('a', 'b', 'forger');
  const mark = { slot: 3, sha256: sha256Of(BLOB, 3, 1), voucher: a.notary.vouch('proven', factOf(BLOB, 3)) };
  b.trust.heard(forger.name, { realm: REALM, ...BLOB, segment: 0, marks: [mark], accused: [] });
  assert.deepEqual(
    b.quarantined.map(({ peer }) => peer),
    ['forger'],
  );
});
