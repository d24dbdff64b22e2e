import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Claim, Claims } from '../../../peer/trust/claims.ts';
import { blobOf, ELSEWHERE, factOf, Keys, REALM } from './support.ts';

const BLOB = blobOf(40);
const keys = new Keys();
const everybody = () => 'counts' as const;
const nobody = () => 'ignored' as const;
const inDoubt = () => 'contests' as const;

function claim(
  by: string,
  version = 0,
  kind: 'attested' | 'proven' = 'attested',
  piece = 3,
  realm = REALM,
): Claim {
  const fact = factOf(BLOB, piece, version, realm);
  return { fact, voucher: keys.notary(by).vouch(kind, fact) };
}

function who(claims: readonly Claim[]): string[] {
  return claims.map(({ voucher }) => voucher.by);
}

test('claims are found by piece and realm, and those of a blob all together', () => {
  const claims = new Claims();
  for (const one of [claim('a'), claim('b', 0, 'attested', 4), claim('c', 0, 'attested', 3, ELSEWHERE)])
    claims.add(one, everybody);
  claims.add(claim('d', 0, 'attested', 39), everybody);
  assert.deepEqual(who(claims.of(factOf(BLOB, 3))), ['a']);
  assert.deepEqual(who(claims.of(factOf(BLOB, 3, 0, ELSEWHERE))), ['c']);
  assert.deepEqual(who(claims.ofBlob(BLOB)).sort(), ['a', 'b', 'c', 'd']);
  assert.deepEqual(claims.ofBlob({ ...BLOB, size: BLOB.size + 1 }), []);
});

test('what somebody who is believed has said before is no news, nor is the word of one who is not', () => {
  const claims = new Claims();
  claims.add(claim('a'), everybody);
  assert.equal(claims.isNews(claim('a'), everybody), false);
  assert.equal(claims.isNews(claim('b'), everybody), false);
  assert.equal(
    claims.isNews(claim('b'), (by) => (by === 'b' ? 'counts' : 'ignored')),
    true,
  );
  assert.equal(claims.isNews(claim('b', 1), everybody), true);
  assert.equal(claims.isNews(claim('b', 0, 'proven'), everybody), true);
  assert.equal(claims.isNews(claim('b', 1), nobody), false);
  assert.equal(claims.isNews(claim('b', 1), inDoubt), true, 'it may contest');
});

test('the other word of a member on a piece is told', () => {
  const claims = new Claims();
  assert.equal(claims.add(claim('a', 1, 'proven'), everybody), undefined);
  assert.equal(claims.add(claim('a', 1, 'proven'), everybody), undefined);
  assert.equal(claims.add(claim('a', 1), everybody), undefined, 'of another kind');
  assert.deepEqual(claims.add(claim('a', 2, 'proven'), everybody)?.fact, claim('a', 1).fact);
});

test('one who signs anything has two words on a piece, and takes no room from others', () => {
  const claims = new Claims();
  for (let version = 1; version < 100; version += 1) claims.add(claim('liar', version), everybody);
  claims.add(claim('a'), everybody);
  assert.deepEqual(who(claims.of(factOf(BLOB, 3))), ['liar', 'liar', 'a']);
});

test('many who say the same are remembered by two of them', () => {
  const claims = new Claims();
  for (let n = 0; n < 100; n += 1) claims.add(claim(`m${n}`), everybody);
  assert.deepEqual(who(claims.of(factOf(BLOB, 3))), ['m0', 'm1']);
  claims.add(claim('late'), (by) => (by === 'm0' ? 'ignored' : 'counts'));
  assert.deepEqual(who(claims.of(factOf(BLOB, 3))), ['m1', 'late'], 'one who is believed takes the place');
});

test('more different proven words than are remembered make a piece crowded, unless they are of liars', () => {
  const claims = new Claims();
  for (let n = 0; n < 3; n += 1) claims.add(claim(`m${n}`, n, 'proven'), everybody);
  assert.equal(claims.isCrowded(factOf(BLOB, 3)), false);
  claims.add(claim('m3', 3, 'proven'), (by) => (by === 'm0' ? 'ignored' : 'counts'));
  assert.equal(claims.isCrowded(factOf(BLOB, 3)), false);
  assert.deepEqual(who(claims.of(factOf(BLOB, 3))), ['m1', 'm2', 'm3']);
  claims.add(claim('m4', 4, 'proven'), everybody);
  assert.equal(claims.isCrowded(factOf(BLOB, 3)), true);
  assert.equal(claims.isCrowded(factOf(BLOB, 4)), false);
});

test('the number of segments is bounded', () => {
  const claims = new Claims(1);
  claims.add(claim('a'), everybody);
  claims.add(claim('a', 0, 'attested', 20), everybody);
  assert.deepEqual(who(claims.ofBlob(BLOB)), ['a']);
});
