import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL_PIECES, maskOf } from '../../../peer/piece-mask.ts';
import { ProvenLists } from '../../../peer/trust/proven-lists.ts';
import { SegmentVouchers } from '../../../peer/trust/segment-vouchers.ts';
import { VoucherBook } from '../../../peer/trust/voucher-book.ts';
import { digestOf } from '../../../src/blob/digest.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { Metrics } from '../../../src/observe/metrics.ts';
import { openStore } from '../../../src/store/store.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { blobOf, ELSEWHERE, FakeStore, factOf, Keys, REALM } from './support.ts';

function bookIn(store: FakeStore, keys = new Keys(), maxSegments?: number) {
  const notary = keys.notary('self');
  const proofs = new ProvenLists(store);
  const facts = {
    load: store.load.bind(store),
    put: store.put.bind(store),
    remove: store.removeFact.bind(store),
  };
  const parts = { notary, facts, shelf: store, proofs };
  return {
    book: new VoucherBook(maxSegments === undefined ? parts : { ...parts, maxSegments }),
    notary,
    proofs,
  };
}

const BLOB = blobOf(40);

test('a piece that was read here is attested, with its own bytes only, in its own realm', () => {
  const { book, notary } = bookIn(new FakeStore());
  const fact = factOf(BLOB, 3);
  assert.equal(book.voucherFor(fact), null);
  book.readFromOrigin(fact);
  const voucher = book.voucherFor(fact);
  assert.equal(voucher?.kind, 'attested');
  assert.ok(voucher && notary.isSigned(fact, voucher));
  assert.equal(book.voucherFor(factOf(BLOB, 3, 1)), null);
  assert.equal(book.voucherFor({ ...fact, realm: ELSEWHERE }), null);
  assert.equal(book.voucherFor({ ...fact, size: fact.size + 1 }), null);
  assert.equal(book.vouched(REALM, BLOB, 0), maskOf([3]));
  assert.equal(book.vouched(ELSEWHERE, BLOB, 0), 0);
});

test('what came with a voucher goes on with it', () => {
  const keys = new Keys();
  const { book } = bookIn(new FakeStore(), keys);
  const fact = factOf(BLOB, 17);
  const voucher = keys.notary('other').vouch('attested', fact);
  book.received(fact, voucher);
  assert.deepEqual(book.voucherFor(fact), voucher);
  assert.deepEqual(book.recordsOf(BLOB), [
    { realm: REALM, piece: 17, record: { source: 'peer', sha256: fact.sha256, voucher } },
  ]);
  assert.deepEqual(
    book.piecesBy(voucher.by).map(({ piece }) => piece),
    [17],
  );
});

test('of a proven blob nothing is kept, and everything is vouched for as proven', () => {
  const store = new FakeStore();
  const { book, notary, proofs } = bookIn(store);
  for (let piece = 0; piece < 40; piece += 1) {
    const fact = factOf(BLOB, piece);
    store.store(fact);
    book.readFromOrigin(fact);
  }
  book.flush();
  assert.equal(store.facts.size, 3);
  store.provenBlobs.add(BLOB.digest);
  assert.equal(proofs.keep(BLOB), true);
  book.forget(BLOB);
  assert.equal(store.facts.size, 0);
  const fact = factOf(BLOB, 39);
  const voucher = book.voucherFor(fact);
  assert.ok(voucher && notary.isSigned(fact, voucher) && voucher.kind === 'proven');
  assert.equal(book.voucherFor(factOf(BLOB, 39, 1)), null);
  assert.ok(book.voucherFor({ ...fact, realm: ELSEWHERE }), 'what is proven is right in every realm');
  assert.equal(book.vouched(ELSEWHERE, BLOB, 2), ALL_PIECES);
  book.readFromOrigin(fact);
  book.flush();
  assert.equal(store.facts.size, 0);
});

test('a manifest needs nobody', () => {
  const { book } = bookIn(new FakeStore());
  const bytes = Buffer.from('{}');
  const digest = digestOf(bytes);
  const fact = { realm: REALM, digest, size: 2, piece: 0, sha256: Buffer.from(digest.slice(7), 'hex') };
  assert.equal(book.voucherFor(fact)?.kind, 'proven');
  assert.equal(book.voucherFor({ ...fact, sha256: new Uint8Array(32) }), null);
});

test('vouchers of partly held blobs outlive a restart', () => {
  const keys = new Keys();
  const store = new FakeStore();
  const before = bookIn(store, keys).book;
  const own = factOf(BLOB, 0);
  const theirs = factOf(BLOB, 1);
  const voucher = keys.notary('other').vouch('attested', theirs);
  const proven = keys.notary('prover').vouch('proven', factOf(BLOB, 20));
  before.readFromOrigin(own);
  before.received(theirs, voucher);
  before.received(factOf(BLOB, 20), proven);
  for (const fact of [own, theirs, factOf(BLOB, 20)]) store.store(fact);
  before.flush();
  const after = bookIn(store, keys).book;
  assert.equal(after.voucherFor(own)?.by, 'self');
  assert.deepEqual(after.voucherFor(theirs), voucher);
  assert.deepEqual(after.voucherFor(factOf(BLOB, 20)), proven);
  assert.equal(after.vouched(REALM, BLOB, 0), maskOf([0, 1]));
  assert.deepEqual(
    after.recordsOf(BLOB).map(({ record }) => record.sha256),
    [own.sha256, theirs.sha256, factOf(BLOB, 20).sha256],
  );
});

test('a loaded voucher is checked against the bytes before it goes anywhere', () => {
  const keys = new Keys();
  const store = new FakeStore();
  const before = bookIn(store, keys).book;
  before.received(factOf(BLOB, 1), keys.notary('other').vouch('attested', factOf(BLOB, 1)));
  before.flush();
  // The index is older than the piece that lies there now.
  const now = factOf(BLOB, 1, 7);
  store.store(now);
  const after = bookIn(store, keys).book;
  assert.equal(after.recordOf(REALM, BLOB, 1), undefined);
  assert.equal(after.voucherFor(now), null);
  assert.equal(after.vouched(REALM, BLOB, 0), 0, 'and forgotten');
});

test('with its pieces the vouchers go, from the index as well', () => {
  const store = new FakeStore();
  const { book } = bookIn(store);
  for (const piece of [0, 1, 16]) {
    store.store(factOf(BLOB, piece));
    book.readFromOrigin(factOf(BLOB, piece));
  }
  book.flush();
  assert.equal(store.facts.size, 2);
  store.remove(BLOB.digest, 1);
  book.lost(BLOB.digest, 0);
  assert.equal(book.vouched(REALM, BLOB, 0), maskOf([0]));
  store.remove(BLOB.digest, 16);
  book.lost(BLOB.digest, 1);
  book.flush();
  assert.equal(store.facts.size, 1);
  book.forgetPiece(BLOB.digest, 0);
  assert.equal(store.facts.size, 0);
});

test('a proven blob that loses a segment is remembered as proven in what is left, over a restart', () => {
  const keys = new Keys();
  const store = new FakeStore();
  const { book, proofs } = bookIn(store, keys);
  for (let piece = 0; piece < 40; piece += 1) store.store(factOf(BLOB, piece));
  store.provenBlobs.add(BLOB.digest);
  proofs.keep(BLOB);
  for (let piece = 16; piece < 32; piece += 1) store.remove(BLOB.digest, piece);
  book.lost(BLOB.digest, 1);
  book.provenInPart(BLOB);
  book.flush();
  assert.equal(store.facts.size, 2);
  const after = bookIn(store, keys).book;
  assert.equal(after.voucherFor(factOf(BLOB, 33))?.kind, 'proven');
  assert.equal(after.voucherFor({ ...factOf(BLOB, 33), realm: ELSEWHERE })?.kind, 'proven');
  assert.equal(after.voucherFor(factOf(BLOB, 17)), null);
  after.readFromOrigin(factOf(BLOB, 34, 0, ELSEWHERE));
  assert.equal(after.voucherFor(factOf(BLOB, 33))?.kind, 'proven', 'also beside what another realm brings');
});

test('the number of segments is bounded, and so is what is written of them', () => {
  const store = new FakeStore();
  const { book } = bookIn(store, new Keys(), 4);
  const blobs = [0, 1, 2, 3, 4, 5].map((n) => blobOf(3, `b${n}`));
  for (const blob of blobs) {
    store.store(factOf(blob, 0));
    book.readFromOrigin(factOf(blob, 0));
    book.flush();
  }
  assert.equal(store.facts.size, 4);
  const kept = blobs.map((blob) => book.voucherFor(factOf(blob, 0)) !== null);
  assert.deepEqual(kept, [false, false, true, true, true, true]);
});

test('a segment that fills is written once per flush', () => {
  const store = new FakeStore();
  const { book } = bookIn(store);
  for (let piece = 0; piece < 16; piece += 1) book.readFromOrigin(factOf(BLOB, piece));
  assert.equal(store.puts, 0);
  book.flush();
  book.flush();
  assert.equal(store.puts, 1);
});

test('the largest segment fits into a fact of the store, and what is damaged is left out', async (t) => {
  const long = `12D3KooW${'x'.repeat(44)}`;
  const keys = new Keys();
  const full = new SegmentVouchers(REALM, BLOB.size);
  for (let slot = 0; slot < 16; slot += 1) {
    const fact = factOf(BLOB, slot);
    const voucher = keys.notary(`${slot.toString(16)}${long.slice(1)}`).vouch('attested', fact);
    full.set(slot, { source: 'peer', sha256: fact.sha256, voucher });
  }
  const value = full.encode();
  const { path } = await tempFolder(t);
  const options = {
    dir: path,
    maxBytes: 64 << 20,
    minFreeBytes: 0,
    memoryBytes: 0,
    log: silentLogger,
    metrics: new Metrics(),
  };
  const first = await openStore(options);
  const key = `sha512:${'0'.repeat(128)} 123456`;
  first.facts.put('voucher', { key, value, expiresAtMs: Number.POSITIVE_INFINITY });
  await first.close();
  const second = await openStore({ ...options, metrics: new Metrics() });
  t.after(() => second.close());
  const [kept] = second.facts.load('voucher');
  assert.equal(kept?.value, value);
  const again = SegmentVouchers.decode(kept?.value ?? '');
  assert.equal(again?.slots, ALL_PIECES);
  assert.equal(again?.encode(), value);
  for (const damaged of [
    '',
    'AA==',
    value.slice(0, -8),
    `${value.slice(0, -4)}AAAAAAAA`,
    `Ag${value.slice(2)}`,
  ])
    assert.equal(SegmentVouchers.decode(damaged), null);
});
