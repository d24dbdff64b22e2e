import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Claim } from '../../../peer/trust/claims.ts';
import { type Evidence, weigh } from '../../../peer/trust/judge.ts';
import { blobOf, factOf, Keys, sha256Of } from './support.ts';

const BLOB = blobOf(4);
const keys = new Keys();
const [RIGHT, WRONG, OTHER] = [0, 1, 2].map((version) => sha256Of(BLOB, 1, version)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];
const NOTHING: Evidence = {
  proof: undefined,
  own: undefined,
  isCrowded: false,
  claims: [],
  counts: () => true,
};

function claim(by: string, kind: 'attested' | 'proven', version = 0): Claim {
  const fact = factOf(BLOB, 1, version);
  return { fact, voucher: keys.notary(by).vouch(kind, fact) };
}

function verdict(sha256: Uint8Array, evidence: Partial<Evidence>, level: 'attested' | 'proven' = 'attested') {
  const found = weigh(sha256, { ...NOTHING, ...evidence }, level);
  return found.taken ? found.as : `${found.why} → ${found.next}`;
}

test('a proof of its own settles it, whatever anybody says', () => {
  const claims = [claim('a', 'proven', 1), claim('b', 'proven', 2)];
  assert.equal(verdict(RIGHT, { proof: RIGHT, claims }), 'proven');
  assert.equal(verdict(WRONG, { proof: RIGHT, claims, own: WRONG }), 'contradicts-proof → holder');
});

test('a proven word beats attestations', () => {
  const claims = [claim('a', 'proven'), claim('b', 'attested', 1), claim('c', 'attested', 2)];
  assert.equal(verdict(RIGHT, { claims }), 'proven');
  assert.equal(verdict(WRONG, { claims }), 'contradicts-proven → holder');
});

test('two proven words that disagree, or one that disagrees with the origin, count for nothing', () => {
  assert.equal(
    verdict(RIGHT, { claims: [claim('a', 'proven'), claim('b', 'proven', 1)] }),
    'contested → origin',
  );
  assert.equal(verdict(RIGHT, { claims: [claim('a', 'proven')], own: OTHER }), 'contested → origin');
  assert.equal(verdict(RIGHT, { claims: [claim('a', 'proven')], own: RIGHT }), 'proven');
});

test('an attestation is taken while nobody contradicts it', () => {
  assert.equal(verdict(RIGHT, { claims: [claim('a', 'attested')] }), 'attested');
  assert.equal(verdict(RIGHT, { claims: [claim('a', 'attested'), claim('b', 'attested')] }), 'attested');
  assert.equal(
    verdict(RIGHT, { claims: [claim('a', 'attested'), claim('b', 'attested', 1)] }),
    'contested → origin',
  );
  assert.equal(verdict(RIGHT, {}), 'distrusted → holder');
});

test('what was read from the origin beats attestations', () => {
  const claims = [claim('a', 'attested', 1)];
  assert.equal(verdict(RIGHT, { own: RIGHT, claims }), 'attested');
  assert.equal(verdict(WRONG, { own: RIGHT, claims }), 'contradicts-origin → origin');
});

test('where more was said than is remembered only a proof of its own counts', () => {
  const claims = [claim('a', 'proven')];
  assert.equal(verdict(RIGHT, { claims, isCrowded: true }), 'contested → origin');
  assert.equal(verdict(RIGHT, { claims, isCrowded: true, proof: RIGHT }), 'proven');
});

test('a word in doubt contests, and nothing is taken on it', () => {
  const counts = (by: string) => by === 'a';
  assert.equal(verdict(RIGHT, { claims: [claim('b', 'attested')], counts }), 'distrusted → holder');
  assert.equal(verdict(RIGHT, { claims: [claim('b', 'proven')], counts }), 'distrusted → holder');
  assert.equal(
    verdict(RIGHT, { claims: [claim('a', 'attested'), claim('b', 'proven')], counts }),
    'attested',
  );
  for (const kind of ['attested', 'proven'] as const) {
    const claims = [claim('a', 'attested'), claim('b', kind, 1)];
    assert.equal(verdict(RIGHT, { claims, counts }), 'contested → origin');
  }
  const proven = [claim('a', 'proven'), claim('b', 'attested', 1)];
  assert.equal(verdict(RIGHT, { claims: proven, counts }), 'proven');
  assert.equal(verdict(WRONG, { claims: proven, counts }), 'contradicts-proven → holder');
});

test('peer.trust proven takes what is proven and nothing else', () => {
  assert.equal(verdict(RIGHT, { claims: [claim('a', 'attested')] }, 'proven'), 'attested → origin');
  assert.equal(verdict(RIGHT, { claims: [claim('a', 'proven')] }, 'proven'), 'proven');
});
