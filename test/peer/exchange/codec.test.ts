import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  decodeAsk,
  decodeFetch,
  decodeInquiry,
  decodeKnowledge,
  decodePeers,
  decodePieceHead,
  decodePlan,
  decodeReports,
  encodeAsk,
  encodeFetch,
  encodeInquiry,
  encodeKnowledge,
  encodePeers,
  encodePieceHead,
  encodePlan,
  encodeReports,
  MAX_HOLDERS,
} from '../../../peer/exchange/codec.ts';
import { MAX_CONTROL_BYTES } from '../../../peer/exchange/frame.ts';
import {
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  REFUSAL_REASONS,
} from '../../../peer/exchange/hello.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import type { Realm } from '../../../peer/messages.ts';
import type { Digest } from '../../../src/blob/digest.ts';
import { hasCode } from '../../../src/errors.ts';
import { aFetch, anAsk, anInquiry, aPlan, aReport, aVoucher } from '../../support/peer/words.ts';

const ids = Array.from({ length: 5 }, () => Identity.generate().id);
const hex = (digits: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits });
const peer = fc.constantFrom(...ids);
const mask = fc.nat(0xffff);
const slot = fc.nat(15);
const ms = fc.nat(0xffff_ffff);
const size = fc.maxSafeNat();
const maybeSize = fc.option(size, { nil: undefined });
const urgency = fc.constantFrom('demand', 'prefetch');
const name = {
  realm: hex(16).map((text) => text as Realm),
  digest: fc.oneof(
    hex(64).map((text) => `sha256:${text}` as Digest),
    hex(128).map((text) => `sha512:${text}` as Digest),
  ),
  segment: fc.nat(0xffff_ffff),
};
const list = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(one, { maxLength: 20 });
const voucher = fc.record({
  kind: fc.constantFrom('attested', 'proven'),
  by: peer,
  signature: fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
});

const WORDS = {
  ask: {
    value: fc.record({
      ...name,
      size: maybeSize,
      wanted: mask,
      held: mask,
      underway: mask,
      hedge: mask,
      leases: fc.nat(64),
      load: fc.nat(65_535),
      urgency,
      failed: list(
        fc.record({
          from: peer,
          pieces: mask,
          why: fc.constantFrom('gone', 'silent', 'slow', 'busy', 'wrong'),
        }),
      ),
    }),
    encode: encodeAsk,
    decode: decodeAsk,
  },
  plan: {
    value: fc.record({
      ...name,
      size: maybeSize,
      isFinal: fc.boolean(),
      isPending: fc.boolean(),
      assignments: list(
        fc.oneof(
          fc.record({ kind: fc.constant('fetch'), pieces: mask, from: fc.array(peer, { maxLength: 16 }) }),
          fc.record({ kind: fc.constant('lease'), pieces: mask, leaseMs: ms, isHedge: fc.boolean() }),
        ),
      ),
    }),
    encode: encodePlan,
    decode: decodePlan,
  },
  inquiry: { value: fc.record(name), encode: encodeInquiry, decode: decodeInquiry },
  knowledge: {
    value: fc.record({
      ...name,
      size: maybeSize,
      isFresh: fc.boolean(),
      holders: list(fc.record({ peer, held: mask })),
      leases: list(fc.record({ peer, pieces: mask, leaseMs: ms })),
    }),
    encode: encodeKnowledge,
    decode: decodeKnowledge,
  },
  fetch: {
    value: fc.record({
      realm: name.realm,
      digest: name.digest,
      size,
      piece: fc.nat(0xffff_ffff),
      urgency,
      waitMs: ms,
    }),
    encode: encodeFetch,
    decode: decodeFetch,
  },
  pieceHead: { value: fc.record({ length: ms, voucher }), encode: encodePieceHead, decode: decodePieceHead },
  peers: { value: list(peer), encode: encodePeers, decode: decodePeers },
} as const;

const REPORT = fc.record({
  ...name,
  size,
  load: fc.nat(65_535),
  held: mask,
  lost: mask,
  marks: list(
    fc.record({
      slot,
      sha256: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
      voucher,
    }),
  ),
  leases: list(
    fc.record({
      pieces: mask,
      state: fc.constantFrom('progress', 'returned'),
      why: fc.constantFrom(undefined, 'refused', 'failed', 'busy', 'disk', 'stopping'),
    }),
  ),
  accused: list(fc.record({ slot, by: peer })),
});

const DECODERS = {
  ...Object.fromEntries(Object.entries(WORDS).map(([word, { decode }]) => [word, decode])),
  reports: decodeReports,
  hello: decodeHello,
} as Record<string, (body: Buffer) => unknown>;

/** What a decoder makes of bytes that anybody may have sent: a value, or `peer-broken`, and nothing else. */
function takes(decode: (body: Buffer) => unknown, body: Buffer): boolean {
  try {
    decode(body);
    return true;
  } catch (error) {
    assert.ok(hasCode(error, 'peer-broken'), String(error));
    return false;
  }
}

describe('words between members', () => {
  for (const [word, { value, encode, decode }] of Object.entries(WORDS)) {
    it(`${word} is read as it was written`, () => {
      fc.assert(
        fc.property(value as fc.Arbitrary<never>, (said) => {
          const body = encode(said);
          assert.ok(body.length <= MAX_CONTROL_BYTES);
          // JSON takes the prototype that fast-check gives its records away, and leaves what was said.
          assert.deepEqual(plain(decode(body)), plain(said));
        }),
      );
    });
  }

  it('reports are read as they were written, in as many frames as it takes', () => {
    fc.assert(
      fc.property(fc.array(REPORT as fc.Arbitrary<never>, { maxLength: 40 }), (said) => {
        const bodies = encodeReports(said);
        for (const body of bodies) assert.ok(body.length <= MAX_CONTROL_BYTES);
        assert.deepEqual(plain(bodies.flatMap(decodeReports)), plain(said));
      }),
    );
  });

  it('the largest of each fits into a frame', () => {
    const [id] = ids;
    assert.ok(id !== undefined);
    const many = <T>(one: T): T[] => Array.from({ length: 5000 }, () => one);
    const digest = `sha512:${'a'.repeat(128)}` as Digest;
    const mark = { slot: 1, sha256: Buffer.alloc(32), voucher: aVoucher(id) };
    const bodies = [
      encodeAsk(anAsk({ digest, failed: many({ from: id, pieces: 1, why: 'slow' }) })),
      encodePlan(aPlan({ digest, assignments: many({ kind: 'fetch', pieces: 1, from: many(id) }) })),
      encodeKnowledge({
        ...anInquiry({ digest }),
        size: 1,
        isFresh: false,
        holders: many({ peer: id, held: 1 }),
        leases: many({ peer: id, pieces: 1, leaseMs: 1 }),
      }),
      ...encodeReports([aReport({ digest, marks: many(mark), accused: many({ slot: 1, by: id }) })]),
      encodePeers(many(id)),
    ];
    for (const body of bodies) assert.ok(body.length <= MAX_CONTROL_BYTES, String(body.length));
    assert.equal(decodeKnowledge(bodies[2] ?? Buffer.alloc(0)).holders.length, MAX_HOLDERS);
  });

  it('that are any bytes at all are refused, and nothing else happens', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        for (const decode of Object.values(DECODERS)) takes(decode, Buffer.from(bytes));
      }),
      { numRuns: 500 },
    );
  });

  for (const [word, { value, encode, decode }] of Object.entries(WORDS)) {
    it(`${word} with a byte changed, left out or added is refused or is another one`, () => {
      fc.assert(
        fc.property(value as fc.Arbitrary<never>, fc.nat(), fc.nat(255), (said, place, byte) => {
          const body = encode(said);
          const at = place % body.length;
          assert.equal(takes(decode, body.subarray(0, at)), false);
          assert.equal(takes(decode, Buffer.concat([body, Buffer.of(byte)])), false);
          body[at] = byte;
          takes(decode, body);
        }),
      );
    });
  }

  it('hellos and refusals are read as they were written', () => {
    const proofs = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    assert.deepEqual(decodeHello(encodeHello(proofs)), { version: 1, features: 0, proofs });
    for (const reason of REFUSAL_REASONS) assert.equal(decodeRefusal(encodeRefusal(reason)), reason);
    assert.equal(decodeRefusal(Buffer.of(99)), 'protocol');
    assert.equal(decodeRefusal(Buffer.alloc(0)), 'protocol');
    assert.equal(takes(decodeHello, encodeHello(Array(9).fill(Buffer.alloc(32)))), false);
  });

  it('of fetches keep a time that is not whole, or past, in bounds', () => {
    assert.equal(decodeFetch(encodeFetch(aFetch({ waitMs: 10.7 }))).waitMs, 10);
    assert.equal(decodeFetch(encodeFetch(aFetch({ waitMs: -5 }))).waitMs, 0);
  });
});

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
