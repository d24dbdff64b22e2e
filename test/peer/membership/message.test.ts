import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { PeerId } from '../../../peer/member.ts';
import { ByteReader, ByteWriter, MalformedBytes } from '../../../peer/membership/bytes.ts';
import {
  decodeMessage,
  encodeMessage,
  LIFE_STATES,
  type Message,
  ROWS_FRAME_BYTES,
  rowsMessages,
} from '../../../peer/membership/message.ts';
import { type LifeKey, type Row, sealRow } from '../../../peer/membership/row.ts';
import { OPEN_SEAL, rowOf } from './sim-network.ts';

const hex = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((bytes) => Buffer.from(bytes).toString('hex') as LifeKey);
const whole = fc.oneof(fc.nat(), fc.maxSafeNat());
const text = fc.string({ maxLength: 40 });
const row: fc.Arbitrary<Row> = fc.record({
  id: text.map((id) => id as PeerId),
  data: fc.array(fc.record({ host: text, port: fc.nat(65_535) }), { maxLength: 16 }),
  control: fc.array(text, { maxLength: 16 }),
  zone: text,
  epoch: whole,
  version: fc.nat(),
  isLeaving: fc.boolean(),
});
const entry = fc.record({
  state: fc.constantFrom(...LIFE_STATES),
  signed: row.map((each) => sealRow(each, OPEN_SEAL)),
});
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), self: entry, hash: hex }),
  fc.record({ kind: fc.constant('rows' as const), entries: fc.array(entry, { maxLength: 5 }) }),
  fc.record({
    kind: fc.constant('summary' as const),
    items: fc.array(fc.record({ key: hex, version: fc.nat(), state: fc.constantFrom(...LIFE_STATES) })),
  }),
  fc.record({ kind: fc.constant('want' as const), keys: fc.array(hex) }),
  fc.record({
    kind: fc.constant('beats' as const),
    hash: hex,
    beats: fc.array(fc.record({ key: hex, count: whole })),
  }),
  fc.record({ kind: fc.constant('probe' as const), nonce: whole, target: text.map((id) => id as PeerId) }),
  fc.record({ kind: fc.constant('probed' as const), nonce: whole, isAlive: fc.boolean() }),
  fc.record({
    kind: fc.constant('bye' as const),
    why: fc.constantFrom('full' as const, 'unneeded' as const, 'duplicate' as const, 'leaving' as const),
  }),
);

/** Buffers and arrays of bytes alike. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, each) => (each instanceof Uint8Array ? [...each] : each)));
}

describe('messages between members', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(message, (sent) =>
        assert.deepEqual(plain(decodeMessage(encodeMessage(sent))), plain(sent)),
      ),
    );
  });

  it('are refused when they are cut or changed, and never anything worse', () => {
    const damage = fc.tuple(message, fc.nat(), fc.nat(255), fc.boolean());
    fc.assert(
      fc.property(damage, ([sent, at, value, isCut]) => {
        const bytes = Buffer.from(encodeMessage(sent));
        const damaged = isCut
          ? bytes.subarray(0, at % bytes.length)
          : bytes.fill(value, at % bytes.length, (at % bytes.length) + 1);
        try {
          decodeMessage(damaged);
        } catch (error) {
          assert.ok(error instanceof MalformedBytes, String(error));
        }
      }),
    );
  });

  it('refuse counts that the bytes cannot hold', () => {
    const claim = new ByteWriter().byte(1).number(1_000_000).done();
    assert.throws(() => decodeMessage(claim), MalformedBytes);
    assert.throws(() => new ByteReader(Buffer.alloc(9, 0xff)).number(), MalformedBytes);
    assert.throws(() => decodeMessage(Buffer.from([99])), MalformedBytes);
  });

  it('keep a newer node from being misread: its further fields are passed on with its signature', () => {
    const { bytes } = sealRow(rowOf('new'), OPEN_SEAL);
    const longer = Buffer.concat([bytes, Buffer.from('what comes later')]);
    const frame = new ByteWriter().byte(1).number(1).byte(0).block(longer).raw(Buffer.alloc(64)).done();
    const read = decodeMessage(frame);
    assert.ok(read.kind === 'rows');
    assert.deepEqual(read.entries[0]?.signed.bytes, longer);
    assert.deepEqual(read.entries[0]?.signed.row, rowOf('new'));
  });

  it('are cut into frames of a bounded size', () => {
    const signed = sealRow(rowOf('a', { zone: 'z'.repeat(255) }), OPEN_SEAL);
    const entries = Array.from({ length: 2_000 }, () => ({ state: 'live' as const, signed }));
    const messages = rowsMessages(entries);
    assert.ok(messages.length > 1);
    assert.ok(messages.every((each) => encodeMessage(each).length < ROWS_FRAME_BYTES + 1_024));
    assert.equal(messages.flatMap((each) => (each.kind === 'rows' ? each.entries : [])).length, 2_000);
  });
});
