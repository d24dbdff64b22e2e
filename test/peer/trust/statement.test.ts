import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Identity } from '../../../peer/identity/identity.ts';
import { verifySignature } from '../../../peer/identity/signature.ts';
import type { Realm } from '../../../peer/messages.ts';
import { isPiece, Notary, type PieceFact, selfProof, statementBytes } from '../../../peer/trust/statement.ts';
import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { blobOf, ELSEWHERE, factOf, Keys } from './support.ts';

const FACT: PieceFact = {
  realm: '00112233445566aa' as Realm,
  digest: `sha256:${'ab'.repeat(32)}` as Digest,
  size: 5 * PIECE_BYTES + 7,
  piece: 5,
  sha256: new Uint8Array(32).fill(0xcd),
};

test('the bytes of a statement, field by field', () => {
  const hex = Buffer.from(statementBytes('default', 'attested', FACT)).toString('hex');
  const ascii = (text: string) => Buffer.from(text, 'latin1').toString('hex');
  const expected = [
    ascii('damselfly voucher v1\n'),
    `07${ascii('default')}`,
    `10${ascii('00112233445566aa')}`,
    '01',
    `47${ascii(FACT.digest)}`,
    '0000000000500007',
    '00000005',
    '00000007',
    'cd'.repeat(32),
  ].join('');
  assert.equal(hex, expected);
});

test('a proven one of a long digest and a network of no name', () => {
  const fact = { ...FACT, digest: `sha512:${'01'.repeat(64)}` as Digest, piece: 0 };
  const bytes = Buffer.from(statementBytes('', 'proven', fact));
  assert.equal(bytes.length, 21 + 1 + 17 + 1 + 1 + 135 + 16 + 32);
  assert.equal(digestOf(bytes), 'sha256:f59d8ca3df9ab42a69e518c407dd46398c2e686ae1a4a549bc740d6d34bb4a28');
});

test('statements that differ in anything have other bytes', () => {
  const hex = fc.string({ unit: fc.constantFrom('0', '1', 'a'), maxLength: 3 });
  const statement = fc.record({
    network: fc.string({ maxLength: 3 }),
    kind: fc.constantFrom('attested' as const, 'proven' as const),
    realm: hex.map((text) => text as Realm),
    digest: hex.map((text) => `sha256:${text}` as Digest),
    size: fc.integer({ min: 3 * PIECE_BYTES, max: 3 * PIECE_BYTES + 2 }),
    piece: fc.integer({ min: 0, max: 2 }),
    sha256: fc.constantFrom(1, 2).map((byte) => new Uint8Array(32).fill(byte)),
  });
  fc.assert(
    fc.property(statement, statement, (a, b) => {
      const [one, other] = [a, b].map((s) =>
        Buffer.from(statementBytes(s.network, s.kind, s)).toString('hex'),
      );
      assert.equal(one === other, JSON.stringify(a) === JSON.stringify(b));
    }),
    { seed: 1, numRuns: 3_000 },
  );
});

test('what can be no piece is not signed, and of others never held to be signed', () => {
  const notary = new Keys().notary('a');
  const voucher = notary.vouch('attested', FACT);
  const wrong: PieceFact[] = [
    { ...FACT, piece: 6 },
    { ...FACT, piece: -1 },
    { ...FACT, piece: 0.5 },
    { ...FACT, size: 0, piece: 0 },
    { ...FACT, size: Number.NaN },
    { ...FACT, size: 2 ** 60 },
    { ...FACT, sha256: new Uint8Array(31) },
  ];
  for (const fact of wrong) {
    assert.equal(isPiece(fact), false);
    assert.throws(() => statementBytes('default', 'attested', fact), RangeError);
    assert.equal(notary.isSigned(fact, voucher), false);
  }
  assert.throws(() => statementBytes('n'.repeat(256), 'attested', FACT), RangeError);
});

test('a voucher holds for its very piece, kind, realm, network and signer', () => {
  const identity = Identity.generate();
  const other = Identity.generate();
  const signatory = {
    self: identity.id,
    sign: (bytes: Uint8Array) => identity.sign(bytes),
    verify: verifySignature,
  };
  const notary = new Notary(signatory, 'blue');
  const voucher = notary.vouch('attested', FACT);
  assert.equal(voucher.by, identity.id);
  assert.equal(voucher.signature.length, 64);
  assert.equal(notary.isSigned(FACT, voucher), true);
  assert.equal(new Notary(signatory, 'green').isSigned(FACT, voucher), false);
  assert.equal(notary.isSigned(FACT, { ...voucher, kind: 'proven' }), false);
  assert.equal(notary.isSigned(FACT, { ...voucher, by: other.id }), false);
  assert.equal(notary.isSigned({ ...FACT, realm: ELSEWHERE }, voucher), false);
  assert.equal(notary.isSigned({ ...FACT, piece: 4 }, voucher), false);
  assert.equal(notary.isSigned({ ...FACT, size: FACT.size + 1 }, voucher), false);
  assert.equal(notary.isSigned({ ...FACT, sha256: new Uint8Array(32) }, voucher), false);
  assert.equal(notary.isSigned(FACT, { ...voucher, signature: voucher.signature.slice(1) }), false);
});

test('the same is signed once', () => {
  let signed = 0;
  const keys = new Keys().signatory('a');
  const notary = new Notary({
    ...keys,
    sign: (bytes) => {
      signed += 1;
      return keys.sign(bytes);
    },
  });
  const fact = factOf(blobOf(3), 1);
  assert.equal(notary.vouch('proven', fact), notary.vouch('proven', { ...fact }));
  assert.equal(signed, 1);
  notary.vouch('attested', fact);
  notary.vouch('proven', factOf(blobOf(3), 1, 1));
  assert.equal(signed, 3);
});

test('a blob of one piece proves itself by its digest, if that is a sha256', () => {
  const bytes = Buffer.from('a manifest');
  const digest = digestOf(bytes);
  assert.equal(`sha256:${Buffer.from(selfProof(digest, bytes.length) ?? []).toString('hex')}`, digest);
  assert.equal(selfProof(digest, PIECE_BYTES + 1), undefined);
  assert.equal(selfProof(digest, 0), undefined);
  assert.equal(selfProof(`sha512:${'0'.repeat(128)}` as Digest, 10), undefined);
});
