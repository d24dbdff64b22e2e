import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import type { Realm } from '../../../peer/messages.ts';
import { Accusations } from '../../../peer/trust/accusations.ts';
import type { Claim } from '../../../peer/trust/claims.ts';
import { Distrust } from '../../../peer/trust/distrust.ts';
import { type Quarantine, Standing } from '../../../peer/trust/standing.ts';
import type { PiecePlace } from '../../../peer/trust/trust-events.ts';
import { blobOf, ELSEWHERE, factOf, Keys, REALM } from './support.ts';

const keys = new Keys();
const blob = blobOf(4);
const OTHER = 'other' as PeerId;

function setUp() {
  const quarantined: Quarantine[] = [];
  const told: { place: PiecePlace; by: PeerId }[] = [];
  const distrust = new Distrust(() => 0);
  const accusations = new Accusations({
    self: 'self' as PeerId,
    standing: new Standing({ now: () => 0, onQuarantine: (quarantine) => quarantined.push(quarantine) }),
    distrust,
    isListed: (realm) => realm === REALM,
    events: { accuse: (place, by) => told.push({ place, by }) },
  });
  return { accusations, distrust, quarantined, told };
}

function word(by: string, kind: 'attested' | 'proven', piece = 0, realm: Realm = REALM): Claim {
  const fact = factOf(blob, piece, 1, realm);
  return { fact, voucher: keys.notary(by).vouch(kind, fact) };
}

test('whoever attested other bytes than its listed origin has is cut off', () => {
  const { accusations, quarantined, told } = setUp();
  accusations.caught(word(OTHER, 'attested'));
  assert.deepEqual(
    quarantined.map(({ peer, why }) => [peer, why]),
    [[OTHER, 'lied']],
  );
  assert.deepEqual(told, [{ place: { realm: REALM, blob, piece: 0 }, by: OTHER }]);
});

test('an origin that a client named can only take its word in that realm; a wrong proof is wrong in all', () => {
  const { accusations, distrust, quarantined } = setUp();
  accusations.caught(word(OTHER, 'attested', 0, ELSEWHERE));
  assert.deepEqual(quarantined, []);
  assert.equal(distrust.weight(ELSEWHERE, blob.digest, OTHER), 'ignored');
  assert.equal(distrust.weight(REALM, blob.digest, OTHER), 'counts');
  accusations.caught(word(OTHER, 'proven', 1, ELSEWHERE));
  assert.equal(quarantined.length, 1);
});

test('a node that was wrong itself takes it back, and does not cut itself off', () => {
  const { accusations, quarantined, told } = setUp();
  accusations.caught(word('self', 'attested'));
  assert.deepEqual(quarantined, []);
  assert.equal(told[0]?.by, 'self');
});

test('who proves two lists of one blob has lied, whichever is right', () => {
  const { accusations, quarantined, told } = setUp();
  accusations.contradictsItself(word(OTHER, 'proven', 0, ELSEWHERE));
  assert.equal(quarantined[0]?.why, 'lied');
  assert.equal(told.length, 1);
});

test('others are told once of each piece and member', () => {
  const { accusations, told } = setUp();
  for (const piece of [0, 1, 0]) accusations.caught(word(OTHER, 'attested', piece));
  accusations.caught(word('third', 'attested'));
  assert.deepEqual(
    told.map(({ place, by }) => [place.piece, by]),
    [
      [0, OTHER],
      [1, OTHER],
      [0, 'third'],
    ],
  );
});
