import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { FetchOutcome, Plan } from '../../../peer/messages.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { hasCode } from '../../../src/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { newlyOpen, openHandles } from '../../support/leaks.ts';
import {
  absentMember,
  type NodeOptions,
  type TestNetwork,
  type TestNode,
} from '../../support/peer/tls-network.ts';
import { aFetch, anAsk, anInquiry, aPlan, aReport, aVoucher, pieceBytes } from '../../support/peer/words.ts';

const never = new AbortController().signal;
const nothing = (): void => undefined;

function pieceOf(outcome: FetchOutcome): Extract<FetchOutcome, { kind: 'piece' }> {
  assert.equal(outcome.kind, 'piece');
  return outcome as Extract<FetchOutcome, { kind: 'piece' }>;
}

/** What peer/exchange.ts promises, of every implementation. */
export function exchangeConformance(name: string, makeNetwork: () => Promise<TestNetwork>): void {
  /** Nodes that are gone after the test; every buffer has come back by then, untouched. */
  async function nodes<N extends number>(
    t: TestContext,
    count: N,
    options: NodeOptions = {},
  ): Promise<TestNode[]> {
    const network = await makeNetwork();
    const made: TestNode[] = [];
    t.after(async () => {
      await network.close();
      for (const { handlers, pool } of made) {
        assert.equal(handlers.lent, 0, 'every lent piece was released');
        assert.equal(pool.isSpoilt(), false, 'nothing was written to a buffer that was given back');
      }
    });
    for (let i = 0; i < count; i += 1) made.push(await network.node(options));
    return made;
  }
  async function pair(t: TestContext, options: NodeOptions = {}): Promise<[TestNode, TestNode]> {
    const [a, b] = await nodes(t, 2, options);
    assert.ok(a !== undefined && b !== undefined);
    return [a, b];
  }

  describe(`exchange over ${name}`, () => {
    describe('questions to a planner', () => {
      it('are answered by plans, the last of which ends it', async (t) => {
        const [a, b] = await pair(t);
        const ask = anAsk({ failed: [{ from: b.id, pieces: 0b10, why: 'slow' }] });
        const said: Plan[] = [
          aPlan({ isFinal: false, isPending: true, size: undefined }),
          aPlan({
            isFinal: false,
            assignments: [{ kind: 'lease', pieces: 0b1, leaseMs: 1500, isHedge: false }],
          }),
          aPlan({ assignments: [{ kind: 'fetch', pieces: 0b10, from: [a.id, b.id] }] }),
        ];
        b.handlers.asks = async (from, asked, answer) => {
          assert.equal(from, a.id);
          assert.deepEqual(asked, ask);
          for (const plan of said) answer(plan);
        };
        const heard: Plan[] = [];
        await a.exchange.ask(b.member, ask, (plan) => heard.push(plan), never);
        assert.deepEqual(heard, said);
      });

      it('are taken back at the planner by an abort', async (t) => {
        const [a, b] = await pair(t);
        const asked = Promise.withResolvers<AbortSignal>();
        b.handlers.asks = (_from, _ask, _answer, signal) => {
          asked.resolve(signal);
          return new Promise((done) => signal.addEventListener('abort', () => done()));
        };
        const leaving = new AbortController();
        const answered = a.exchange.ask(b.member, anAsk(), nothing, leaving.signal);
        const signal = await asked.promise;
        leaving.abort(new Error('left'));
        await assert.rejects(answered, /left/);
        await eventually(() => signal.aborted);
        assert.equal(
          (await a.exchange.inquire(b.member, anInquiry(), never)).size,
          7,
          'the connection goes on',
        );
      });

      it('that the planner does not answer to the end fail, and the connection goes on', async (t) => {
        const [a, b] = await pair(t);
        b.handlers.asks = async () => {
          throw new Error('a fault');
        };
        const isTold = (error: unknown): boolean => hasCode(error, 'peer-unreachable');
        await assert.rejects(a.exchange.ask(b.member, anAsk(), nothing, never), isTold);
        b.handlers.asks = async (_from, _ask, answer) => answer(aPlan({ isFinal: false }));
        await assert.rejects(a.exchange.ask(b.member, anAsk(), nothing, never), isTold);
        await a.exchange.inquire(b.member, anInquiry(), never);
      });

      it('and what another planner knows, arrive as they were said', async (t) => {
        const [a, b] = await pair(t);
        const holders = Array.from({ length: 300 }, () => ({ peer: a.id, held: 0b1010 }));
        b.handlers.knows = (inquiry) => ({
          ...inquiry,
          size: undefined,
          isFresh: true,
          holders,
          leases: [{ peer: b.id, pieces: 0b1, leaseMs: 900 }],
        });
        const knowledge = await a.exchange.inquire(b.member, anInquiry({ segment: 4 }), never);
        assert.deepEqual(knowledge, b.handlers.knows(anInquiry({ segment: 4 })));
      });

      it('reports, few or thousands, arrive in their order', async (t) => {
        const [a, b] = await pair(t);
        const marks = Array.from({ length: 16 }, (_, slot) => ({
          slot,
          sha256: Buffer.alloc(32, slot),
          voucher: aVoucher(a.id),
        }));
        const reports = [
          aReport({ marks, accused: [{ slot: 3, by: b.id }] }),
          aReport({ leases: [{ pieces: 0b1, state: 'returned', why: 'disk' }] }),
          ...Array.from({ length: 3000 }, (_, segment) => aReport({ segment })),
        ];
        await a.exchange.report(b.member, reports, never);
        const heard = await eventually(() => {
          const all = b.handlers.reports.flatMap((one) => one.reports);
          return all.length === reports.length && all;
        });
        assert.deepEqual(heard.slice(0, 2), [
          reports[0],
          aReport({ leases: [{ pieces: 0b1, state: 'returned', why: 'disk' }] }),
        ]);
        assert.deepEqual(
          heard.slice(2).map(({ segment }) => segment),
          reports.slice(2).map(({ segment }) => segment),
        );
        assert.ok(b.handlers.reports.every(({ from }) => from === a.id));
      });
    });

    describe('a piece', () => {
      it('arrives whole, with its voucher, and tells how it gets on', async (t) => {
        const [a, b] = await pair(t);
        for (const piece of [0, 2]) {
          let progress = 0;
          const fetch = aFetch({ piece });
          const outcome = await a.exchange.fetch(b.member, fetch, (bytes) => (progress += bytes), never);
          const { bytes, voucher } = pieceOf(outcome);
          const length = piece === 2 ? PIECE_BYTES - 1000 : PIECE_BYTES;
          assert.ok(bytes.equals(pieceBytes(piece, length)));
          assert.deepEqual(voucher, aVoucher(b.id));
          assert.equal(progress, length);
          a.pool.give(bytes);
        }
        assert.equal(a.pool.out, 0);
        await eventually(() => b.handlers.released === 2);
      });

      it('comes in company: many at once over one connection, none mixed up', async (t) => {
        const [a, b] = await pair(t);
        const size = 24 * PIECE_BYTES;
        await Promise.all(
          Array.from({ length: 24 }, async (_, piece) => {
            const outcome = await a.exchange.fetch(b.member, aFetch({ size, piece }), nothing, never);
            const { bytes } = pieceOf(outcome);
            assert.ok(bytes.equals(pieceBytes(piece, PIECE_BYTES)), `piece ${piece}`);
            a.pool.give(bytes);
          }),
        );
        assert.equal(a.pool.out, 0);
      });

      it('is asked of each other at the same time', async (t) => {
        const [a, b] = await pair(t);
        const [one, other] = await Promise.all([
          a.exchange.fetch(b.member, aFetch({ piece: 1 }), nothing, never),
          b.exchange.fetch(a.member, aFetch({ piece: 1 }), nothing, never),
        ]);
        assert.ok(pieceOf(one).bytes.equals(pieceOf(other).bytes));
      });

      it('that is not there, or not sent now, is said so', async (t) => {
        const [a, b] = await pair(t);
        b.handlers.awaits = async () => false;
        assert.deepEqual(await a.exchange.fetch(b.member, aFetch(), nothing, never), { kind: 'gone' });
        b.handlers.awaits = async () => true;
        b.handlers.serves = async () => ({ kind: 'gone' });
        assert.deepEqual(await a.exchange.fetch(b.member, aFetch(), nothing, never), { kind: 'gone' });
        b.handlers.serves = async () => ({ kind: 'busy', others: [a.id] });
        assert.deepEqual(await a.exchange.fetch(b.member, aFetch(), nothing, never), {
          kind: 'busy',
          others: [a.id],
        });
        assert.equal(a.pool.taken, 0);
      });

      it('that is still arriving is waited for without an upload slot', async (t) => {
        const [a, b] = await pair(t, { limits: { uploadSlots: 1 } });
        const arrived = Promise.withResolvers<boolean>();
        b.handlers.awaits = (fetch) => (fetch.piece === 1 ? arrived.promise : Promise.resolve(true));
        const late = a.exchange.fetch(b.member, aFetch({ piece: 1 }), nothing, never);
        pieceOf(await a.exchange.fetch(b.member, aFetch({ piece: 0 }), nothing, never));
        arrived.resolve(true);
        pieceOf(await late);
      });

      it('waits for a slot: on-demand before prefetch, and past the bound others are named', async (t) => {
        const [a, b] = await pair(t, { limits: { uploadSlots: 1, uploadQueue: 2 } });
        b.handlers.others = [a.id];
        const go = Promise.withResolvers<void>();
        const honest = b.handlers.serves;
        b.handlers.serves = async (from, fetch, signal) => {
          await go.promise;
          return honest(from, fetch, signal);
        };
        const size = 8 * PIECE_BYTES;
        const order = (): number[] => b.handlers.fetched.map(({ piece }) => piece);
        const first = a.exchange.fetch(b.member, aFetch({ size, piece: 0 }), nothing, never);
        await eventually(() => order().length === 1);
        const prefetch = [1, 2].map((piece) =>
          a.exchange.fetch(b.member, aFetch({ size, piece, urgency: 'prefetch' }), nothing, never),
        );
        const demand = a.exchange.fetch(b.member, aFetch({ size, piece: 3 }), nothing, never);
        assert.deepEqual(await prefetch[1], { kind: 'busy', others: [a.id] });
        go.resolve();
        for (const outcome of await Promise.all([first, prefetch[0], demand])) {
          assert.ok(outcome !== undefined);
          pieceOf(outcome);
        }
        assert.deepEqual(order(), [0, 3, 1]);
      });

      it('that is still on its way says so now and then, until it has come', async (t) => {
        const [a, b] = await pair(t, { limits: { signMs: 5 } });
        const arrives = Promise.withResolvers<boolean>();
        b.handlers.awaits = () => arrives.promise;
        const signs: number[] = [];
        const fetched = a.exchange.fetch(b.member, aFetch(), (bytes) => signs.push(bytes), never);
        await eventually(() => signs.length >= 3);
        assert.ok(signs.every((bytes) => bytes === 0));
        arrives.resolve(true);
        a.pool.give(pieceOf(await fetched).bytes);
        // Nobody is told anything about it afterwards.
        const heard = signs.length;
        await a.exchange
          .fetch(b.member, aFetch(), nothing, never)
          .then((next) => a.pool.give(pieceOf(next).bytes));
        assert.equal(signs.length, heard);
      });

      it('for which no slot comes free in time is refused as busy', async (t) => {
        const [a, b] = await pair(t, { limits: { uploadSlots: 1 } });
        const go = Promise.withResolvers<void>();
        const honest = b.handlers.serves;
        b.handlers.serves = async (from, fetch, signal) => {
          await go.promise;
          return honest(from, fetch, signal);
        };
        const first = a.exchange.fetch(b.member, aFetch({ piece: 0 }), nothing, never);
        await eventually(() => b.handlers.fetched.length === 1);
        const second = await a.exchange.fetch(b.member, aFetch({ piece: 1, waitMs: 20 }), nothing, never);
        assert.deepEqual(second, { kind: 'busy', others: [] });
        go.resolve();
        pieceOf(await first);
      });

      it('that is given up in the middle leaves nothing behind, and the connection goes on', async (t) => {
        const [a, b] = await pair(t, { limits: { uploadBytesPerSecond: 4 * PIECE_BYTES } });
        const size = 16 * PIECE_BYTES;
        for (const piece of [0, 1, 2]) {
          const leaving = new AbortController();
          const seen = Promise.withResolvers<void>();
          const fetched = a.exchange.fetch(
            b.member,
            aFetch({ size, piece }),
            () => seen.resolve(),
            leaving.signal,
          );
          await seen.promise;
          leaving.abort(new Error('left'));
          await assert.rejects(fetched, /left/);
        }
        const outcome = await a.exchange.fetch(b.member, aFetch({ size, piece: 5 }), nothing, never);
        assert.ok(pieceOf(outcome).bytes.equals(pieceBytes(5, PIECE_BYTES)));
        a.pool.give(pieceOf(outcome).bytes);
        await eventually(() => a.pool.out === 0 && b.handlers.lent === 0);
      });

      it('that was given up before it was asked asks nothing', async (t) => {
        const [a, b] = await pair(t);
        const fetched = a.exchange.fetch(b.member, aFetch(), nothing, AbortSignal.abort(new Error('left')));
        await assert.rejects(fetched, /left/);
        assert.equal(b.handlers.fetched.length, 0);
      });

      it('of another length than it should have breaks the protocol', async (t) => {
        const [a, b] = await pair(t);
        b.handlers.serves = async () => b.handlers.lend(pieceBytes(0, 1000));
        const fetched = a.exchange.fetch(b.member, aFetch(), nothing, never);
        await assert.rejects(fetched, (error) => hasCode(error, 'peer-broken'));
        await eventually(() => b.handlers.lent === 0);
      });

      it('whose holder stops in the middle fails at once, and its buffer comes back', async (t) => {
        const [a, b] = await pair(t, { limits: { uploadBytesPerSecond: PIECE_BYTES / 2 } });
        const seen = Promise.withResolvers<void>();
        const fetched = a.exchange.fetch(b.member, aFetch(), () => seen.resolve(), never);
        await seen.promise;
        const failed = assert.rejects(fetched, (error) => hasCode(error, 'peer-unreachable'));
        await b.close();
        await failed;
        await eventually(() => a.pool.out === 0);
      });
    });

    describe('rates', () => {
      it('of uploads are kept over everybody who asks', async (t) => {
        const rate = 4 * PIECE_BYTES;
        const [a, b] = await pair(t, { limits: { uploadBytesPerSecond: rate } });
        await measured(a, b, rate);
      });

      it('of downloads are kept by not reading', async (t) => {
        const rate = 4 * PIECE_BYTES;
        const [a, b] = await pair(t, { limits: { downloadBytesPerSecond: rate } });
        await measured(a, b, rate);
      });

      /** Four pieces take at least what the rate allows, less what may pass at once and lie in buffers. */
      async function measured(a: TestNode, b: TestNode, rate: number): Promise<void> {
        const size = 8 * PIECE_BYTES;
        await a.exchange.inquire(b.member, anInquiry(), never);
        const startMs = performance.now();
        await Promise.all(
          [0, 1, 2, 3].map(async (piece) =>
            pieceOf(await a.exchange.fetch(b.member, aFetch({ size, piece }), nothing, never)),
          ),
        );
        const leastMs = ((4 * PIECE_BYTES - 0.1 * rate) / rate) * 1000 * 0.5;
        assert.ok(performance.now() - startMs >= leastMs, `not within ${leastMs} ms`);
      }

      it("do not hold a planner's word up", async (t) => {
        const [a, b] = await pair(t, { limits: { uploadBytesPerSecond: 2 * PIECE_BYTES } });
        const done: string[] = [];
        const size = 8 * PIECE_BYTES;
        const began = Promise.withResolvers<void>();
        const fetches = [0, 1].map(async (piece) => {
          pieceOf(await a.exchange.fetch(b.member, aFetch({ size, piece }), () => began.resolve(), never));
          done.push('piece');
        });
        await began.promise;
        await a.exchange.ask(b.member, anAsk(), nothing, never);
        done.push('ask');
        await Promise.all(fetches);
        assert.deepEqual(done, ['ask', 'piece', 'piece']);
      });
    });

    describe('members', () => {
      it('that nobody answers for are unreachable within the dial limit', async (t) => {
        const [a] = await pair(t);
        await assert.rejects(a.exchange.inquire(absentMember(), anInquiry(), never), (error) =>
          hasCode(error, 'peer-unreachable'),
        );
        const leaving = new AbortController();
        const asked = a.exchange.inquire(absentMember(), anInquiry(), leaving.signal);
        leaving.abort(new Error('left'));
        await assert.rejects(asked, /left|peer-unreachable|no connection/);
      });

      it('that are not who they should be are asked nothing', async (t) => {
        const [a, b, c] = await nodes(t, 3);
        assert.ok(a !== undefined && b !== undefined && c !== undefined);
        const mixed = { ...b.member, data: c.member.data, control: c.member.control };
        await assert.rejects(
          a.exchange.fetch(mixed, aFetch(), nothing, never),
          (error) => hasCode(error, 'peer-refused') || hasCode(error, 'peer-unreachable'),
        );
        assert.equal(c.handlers.fetched.length, 0);
      });

      it('of another network are refused, both ways', async (t) => {
        const network = await makeNetwork();
        t.after(() => network.close());
        const [a, stranger] = [await network.node(), await network.node({ isStranger: true })];
        for (const [from, to] of [
          [a, stranger],
          [stranger, a],
        ] as const) {
          await assert.rejects(
            from.exchange.fetch(to.member, aFetch(), nothing, never),
            (error) => hasCode(error, 'peer-refused') || hasCode(error, 'peer-unreachable'),
          );
          assert.equal(to.handlers.fetched.length, 0);
        }
      });

      it('that were started again are asked over a new connection, and nobody notices', async (t) => {
        const network = await makeNetwork();
        t.after(() => network.close());
        const a = await network.node();
        const first = await network.node();
        await a.exchange.inquire(first.member, anInquiry(), never);
        pieceOf(await a.exchange.fetch(first.member, aFetch(), nothing, never));
        await first.close();
        const again = await network.node({ restartOf: first });
        pieceOf(await a.exchange.fetch(again.member, aFetch(), nothing, never));
        await a.exchange.inquire(again.member, anInquiry(), never);
      });

      it('with a connection are named; past the bound the one unused for longest is left', async (t) => {
        const [a, ...others] = await nodes(t, 4, { limits: { maxPeers: 2 } });
        assert.ok(a !== undefined);
        for (const { member } of others) await a.exchange.inquire(member, anInquiry(), never);
        const kept = others.slice(1).map(({ id }) => id);
        await eventually(() => a.exchange.connected().length === 2);
        assert.deepEqual([...a.exchange.connected()].sort(), [...kept].sort());
        assert.ok(others.at(-1)?.exchange.connected().includes(a.id), 'in either direction');
      });
    });

    it('closes with questions under way: they fail, and nothing stays open', async () => {
      const before = openHandles();
      const network = await makeNetwork();
      try {
        const [a, b] = [await network.node(), await network.node()];
        b.handlers.asks = (_from, _ask, _answer, signal) =>
          new Promise((done) => signal.addEventListener('abort', () => done()));
        b.handlers.awaits = (_fetch, signal) =>
          new Promise((done) => signal.addEventListener('abort', () => done(false)));
        const asked = assert.rejects(a.exchange.ask(b.member, anAsk(), nothing, never));
        const fetched = assert.rejects(a.exchange.fetch(b.member, aFetch(), nothing, never));
        await eventually(() => b.exchange.connected().length === 1);
        await a.close();
        await Promise.all([asked, fetched]);
        await assert.rejects(a.exchange.inquire(b.member, anInquiry(), never));
      } finally {
        await network.close();
      }
      await eventually(() => newlyOpen(before).length === 0, { what: newlyOpen(before).join(', ') });
    });
  });
}
