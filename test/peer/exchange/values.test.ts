import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  readDigest,
  readFlag,
  readList,
  readMask,
  readName,
  readOneOf,
  readPeer,
  readRealm,
  readSize,
  readSlot,
  readVoucher,
  whole,
  writeList,
  writeName,
  writeOneOf,
  writeSize,
  writeVoucher,
} from '../../../peer/exchange/values.ts';
import { type ByteReader, ByteWriter } from '../../../peer/exchange/wire.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { anInquiry, aVoucher } from '../../support/peer/words.ts';

const BROKEN = { code: 'peer-broken' };
const COLOURS = ['red', 'green'] as const;

function written(write: (to: ByteWriter) => void): Buffer {
  const to = new ByteWriter();
  write(to);
  return to.finish();
}

/** @returns what is read of what was written, whole. */
function through<T>(write: (to: ByteWriter) => void, read: (from: ByteReader) => T): T {
  return whole(written(write), read);
}

function refuses(write: (to: ByteWriter) => void, read: (from: ByteReader) => unknown): void {
  assert.throws(() => through(write, read), BROKEN);
}

describe('values of the exchange', () => {
  it('come back as they were', () => {
    const { realm, digest, segment } = anInquiry();
    assert.deepEqual(
      through((to) => writeName(to, { realm, digest, segment }), readName),
      {
        realm,
        digest,
        segment,
      },
    );
    for (const size of [undefined, 0, 2 ** 52])
      assert.equal(
        through((to) => writeSize(to, size), readSize),
        size,
      );
    const voucher = aVoucher(Identity.generate().id);
    assert.deepEqual(
      through((to) => writeVoucher(to, voucher), readVoucher),
      voucher,
    );
    assert.equal(
      through(
        (to) => writeOneOf(to, COLOURS, 'green'),
        (from) => readOneOf(from, COLOURS),
      ),
      'green',
    );
  });

  it('names of realms, members and blobs are refused when they are none', () => {
    const { id } = Identity.generate();
    assert.equal(
      through((to) => to.text(id), readPeer),
      id,
    );
    for (const text of ['', id.slice(1), `${id}x`, id.replace('12D3KooW', '12D3KooX'), `${id.slice(0, -1)}0`])
      refuses((to) => to.text(text), readPeer);
    for (const text of ['', '0123456789abcde', '0123456789ABCDEF', '0123456789abcdef0'])
      refuses((to) => to.text(text), readRealm);
    for (const text of ['', 'sha256:', `sha256:${'A'.repeat(64)}`, `sha256:${'0'.repeat(63)}`])
      refuses((to) => to.text(text), readDigest);
  });

  it('numbers that mean nothing are refused, and bits that do not are left out', () => {
    refuses((to) => to.u8(2), readFlag);
    refuses(
      (to) => to.u8(2),
      (from) => readOneOf(from, COLOURS),
    );
    for (const slot of [16, 31, 32, 255]) refuses((to) => to.u8(slot), readSlot);
    assert.equal(
      through((to) => to.u8(15), readSlot),
      15,
    );
    assert.equal(
      through((to) => to.u16(0xffff), readMask),
      0xffff,
    );
  });

  it('a list is written up to its bound, and one past it is refused before it is read', () => {
    const body = written((to) => writeList(to, [1, 2, 3], 2, (one) => to.u8(one)));
    assert.deepEqual(
      whole(body, (from) => readList(from, 2, () => from.u8())),
      [1, 2],
    );
    let reads = 0;
    const read = (from: ByteReader) =>
      readList(from, 2, () => {
        reads += 1;
        return from.u8();
      });
    refuses((to) => to.u16(3).u8(1).u8(2).u8(3), read);
    assert.equal(reads, 0);
    refuses((to) => to.u16(2).u8(1), read);
  });

  it('what is left over is refused', () => {
    refuses((to) => to.u8(1).u8(0), readFlag);
  });
});
