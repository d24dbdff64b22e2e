import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PIECE_BYTES, pieceCount, pieceLength } from '../../src/blob/piece.ts';
import type { SourceName } from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { ContentParts, ReadContext, ReadShape } from '../../src/content/parts.ts';
import { ALONE, SWARM } from '../../src/content/run-plan.ts';
import { DamselflyError, OriginRefusal } from '../../src/errors.ts';
import { storeIn } from '../store/support.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FakeSwarm, type Fate, SlowSink, SpoilingPool, type SwarmOpen } from './fake-swarm.ts';
import { FakeOrigin, type Rig, rig, settle, take, testBlob, upstream } from './fakes.ts';

/** Nothing stays in memory for its own sake, so that what is held can be told from what is not. */
const PLAIN = { ...SWARM, freshPieces: 0 };
const MIB = PIECE_BYTES;
const blob = testBlob(60 * MIB + 12_345);
const small = testBlob(12 * MIB + 777, 3);
const tiny = testBlob(6 * MIB + 777, 7);
const WHOLE: ReadShape = { whole: true, open: true };
const OPEN: ReadShape = { whole: false, open: true };
const CLOSED: ReadShape = { whole: false, open: false };

function context(overrides: Partial<ReadContext> = {}): ReadContext {
  return { upstream: upstream(), urgency: 'demand', signal: AbortSignal.timeout(20_000), ...overrides };
}

interface SwarmRig extends Rig {
  readonly swarm: FakeSwarm;
  readonly pool: SpoilingPool;
  readonly sink: SlowSink;
}

function swarmRig(
  fate: (open: SwarmOpen) => Fate,
  of = blob,
  options: Partial<ContentParts> & { readonly memoryBytes?: number } = {},
): SwarmRig {
  const pool = new SpoilingPool();
  const swarm = new FakeSwarm(of, pool, fate);
  const origin = new FakeOrigin([of]);
  let sink: SlowSink | undefined;
  const it = rig(origin, {
    far: [swarm, origin],
    reach: () => PLAIN,
    buffers: pool,
    sinkOver: (inner) => {
      sink = new SlowSink(inner);
      sink.turns = options.sink === undefined ? sink.turns : 0;
      return sink;
    },
    ...options,
  });
  if (sink === undefined) throw new Error('unreachable');
  return { ...it, swarm, pool, sink };
}

/** Reads and compares each chunk when it comes, and again before the next is asked for. */
async function readRight(
  it: SwarmRig,
  of: typeof blob,
  span: Span,
  shape: ReadShape,
  options: { readonly limit?: number; readonly context?: Partial<ReadContext>; readonly slow?: number } = {},
): Promise<void> {
  let at = span.start;
  let left: { readonly chunk: Uint8Array; readonly expected: Uint8Array } | undefined;
  for await (const chunk of it.content.read(of, span, context(options.context), shape)) {
    assert.ok(chunk instanceof Uint8Array);
    const expected = of.bytes.subarray(at, at + chunk.length);
    assert.equal(Buffer.compare(chunk, expected), 0, `wrong bytes at ${at}`);
    await settle(options.slow ?? 1);
    assert.equal(Buffer.compare(chunk, expected), 0, `bytes at ${at} changed while they were lent`);
    at += chunk.length;
    if (at - span.start < (options.limit ?? Number.POSITIVE_INFINITY)) continue;
    left = { chunk, expected };
    break;
  }
  if (left === undefined) {
    assert.equal(at, span.end);
    return;
  }
  // What was lent when the reader left may still be on its way to a socket.
  await settle(8);
  assert.equal(Buffer.compare(left.chunk, left.expected), 0, 'bytes changed after their reader had left');
}

/** Nothing is under way any more, nothing is open, and every buffer but `kept` is back and unspoilt. */
async function expectQuiet(it: SwarmRig, kept = 0): Promise<void> {
  await eventually(() => it.swarm.pending === 0 && it.swarm.open_ === 0 && it.sink.pending === 0);
  await eventually(() => it.pool.out <= kept, { timeoutMs: 3_000 });
  await it.content.close();
  assert.equal(it.pool.isSpoilt, false);
}

const verified = (after = 0): Fate => ({ how: 'verified', after });

describe('a read in a swarm', () => {
  it('takes whole pieces that come in any order, as they are', async () => {
    const random = new Random('any order');
    const it = swarmRig(() => verified(random.integer(0, 60)));
    const sources = new Set<SourceName>();
    await readRight(it, blob, { start: 0, end: blob.size }, WHOLE, {
      context: { onChunk: (source) => sources.add(source) },
    });
    assert.ok(it.store.isProven(blob.digest));
    assert.equal(it.swarm.sent.peer, blob.size, 'each piece once');
    assert.equal(it.origin.requests.length, 0);
    assert.ok(sources.has('peer') && !sources.has('origin'), [...sources].join());
    await expectQuiet(it);
  });

  it('asks for a window of single pieces in one turn, which grows with an open read', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(({ piece }) => ({ how: 'verified', after: piece < 8 ? 0 : gate.promise }));
    const reading = readRight(it, blob, { start: 0, end: blob.size }, OPEN);
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    assert.deepEqual(
      it.swarm.opens.map(({ piece }) => piece),
      [0, 1, 2, 3, 4, 5, 6, 7],
    );
    assert.ok(it.swarm.opens.every(({ span }) => span.end - span.start === MIB));
    // It stands at 8, with 24 under way.
    await eventually(() => it.swarm.pending === 24);
    await settle();
    assert.equal(it.swarm.pending, 24);
    const ahead = it.swarm.opens.filter(({ piece }) => piece >= 8);
    assert.deepEqual(
      ahead.filter(({ isAwaited }) => isAwaited()).map(({ piece }) => piece),
      [8],
      'of all that is ahead, a reader stands still for one',
    );
    gate.resolve();
    await reading;
    assert.equal(it.swarm.opens.length, pieceCount(blob.size));
    await expectQuiet(it);
  });

  it('asks for all of a closed range at once, up to the window', async () => {
    for (const [pieces, expected] of [
      [10, 10],
      [60, 48],
    ] as const) {
      const gate = Promise.withResolvers<void>();
      const it = swarmRig(() => ({ how: 'verified', after: gate.promise }));
      const reading = readRight(it, blob, { start: 5, end: pieces * MIB - 9 }, CLOSED);
      await settle();
      assert.equal(it.swarm.pending, expected);
      gate.resolve();
      await reading;
      await expectQuiet(it);
    }
  });

  it('asks for the gaps of what is here already, and reads each once', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(({ round, piece }) => ({
      how: 'verified',
      after: piece % 3 === 0 || round > 0 ? 0 : gate.promise,
    }));
    for (let piece = 0; piece < 24; piece += 3)
      await readRight(it, blob, { start: piece * MIB, end: piece * MIB + 10 }, CLOSED);
    await eventually(() => it.sink.pending === 0);
    const reading = readRight(it, blob, { start: 0, end: 24 * MIB }, CLOSED);
    await eventually(() => it.swarm.pending === 16);
    gate.resolve();
    await reading;
    assert.equal(it.swarm.opens.length, 24);
    await expectQuiet(it);
  });

  it('asks for what is missing further on while it reads what is here', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(({ piece }) => ({ how: 'verified', after: piece < 5 ? 0 : gate.promise }));
    await readRight(it, blob, { start: 0, end: 5 * MIB }, CLOSED);
    await eventually(() => it.sink.pending === 0);
    const reading = it.content.read(blob, { start: 0, end: 9 * MIB }, context(), CLOSED);
    await reading.next();
    assert.equal(it.swarm.pending, 4);
    gate.resolve();
    await take(reading);
    assert.equal(it.swarm.opens.length, 9);
    await expectQuiet(it);
  });

  it('serves a wanted offset in mid-piece from a whole piece, and needs nothing else of it', async () => {
    const it = swarmRig(() => verified(2));
    const start = 5 * MIB + 700_000;
    await readRight(it, blob, { start, end: start + 1000 }, CLOSED);
    await eventually(() => it.store.hasPiece(blob.digest, 5));
    assert.deepEqual(
      it.swarm.opens.map(({ span }) => span),
      [{ start, end: 6 * MIB }],
    );
    assert.equal(it.store.pieces.get(blob.digest)?.size, 1);
    // It is no answer to a request whose Range was ignored.
    await readRight(it, blob, { start: 10 * MIB, end: 13 * MIB }, CLOSED);
    assert.ok(it.swarm.opens.every(({ span }) => span.end - span.start <= MIB));
    assert.equal(it.swarm.opens.length, 4);
    await expectQuiet(it);
  });

  it('reads a piece that falls to it from the wanted offset first, its beginning last', async () => {
    const it = swarmRig(() => ({ how: 'stream' }));
    const start = 5 * MIB + 700_000;
    const sources: SourceName[] = [];
    await readRight(it, blob, { start, end: start + 1000 }, CLOSED, {
      context: { onChunk: (source) => sources.push(source) },
    });
    await eventually(() => it.store.hasPiece(blob.digest, 5));
    assert.deepEqual(
      it.swarm.opens.map(({ span }) => span),
      [
        { start, end: 6 * MIB },
        { start: 5 * MIB, end: start },
      ],
    );
    assert.deepEqual([...new Set(sources)], ['origin']);
    await expectQuiet(it);
  });

  it('completes a piece that the origin has begun with the copy of a peer', async () => {
    const it = swarmRig(({ round }) => (round === 0 ? { how: 'stream' } : verified()));
    const start = 5 * MIB + 700_000;
    await readRight(it, blob, { start, end: start + 1000 }, CLOSED);
    await eventually(() => it.store.hasPiece(blob.digest, 5));
    assert.equal(it.swarm.opens.length, 2);
    await expectQuiet(it);
  });

  it('keeps no piece of which two sources gave different bytes', async () => {
    for (const lieAt of [700_000, 900_000, MIB - 1]) {
      const it = swarmRig(({ round }) =>
        round === 0 ? { how: 'stream' } : { how: 'verified', lieAt, after: 3 },
      );
      const start = 5 * MIB + 700_000;
      await readRight(it, blob, { start, end: start + 1000 }, CLOSED);
      await eventually(() => it.swarm.sent.peer === MIB && it.swarm.open_ === 0);
      await settle();
      assert.equal(it.store.hasPiece(blob.digest, 5), false);
      assert.equal(it.content.isNear(blob.digest, start), false, 'the next read has it anew');
      await expectQuiet(it, 1);
    }
  });

  it('tells who delivered each piece when a run of several comes from several', async () => {
    const it = swarmRig(({ piece }) => (piece % 2 === 0 ? verified() : { how: 'stream' }), small, {
      reach: () => ALONE,
    });
    const bySource: Record<string, number> = {};
    await readRight(it, small, { start: 0, end: 8 * MIB }, CLOSED, {
      context: {
        onChunk: (source, bytes) => {
          bySource[source] = (bySource[source] ?? 0) + bytes;
        },
      },
    });
    assert.deepEqual(bySource, { peer: 4 * MIB, origin: 4 * MIB });
    await expectQuiet(it);
  });

  it('reads all of a blob in one go once its origin was seen to ignore Range', async () => {
    const origin = new FakeOrigin([small], () => ({ ignoreRange: true }));
    const plain = rig(origin, { reach: () => PLAIN });
    const bytes = await take(plain.content.read(small, { start: MIB, end: MIB + 10 }, context(), CLOSED));
    assert.ok(bytes.equals(small.bytes.subarray(MIB, MIB + 10)));
    await eventually(() => plain.store.isComplete(small.digest));
    assert.equal(origin.requests.length, 1);
    plain.content.forget(small.digest);
    await take(plain.content.read(small, { start: 0, end: small.size }, context(), WHOLE));
    assert.ok(origin.requests.length <= 3, `${origin.requests.length} times the whole blob`);
    await plain.content.close();
    // Where several have begun at once, one takes all and the others end with their own piece.
    const eight = new FakeOrigin([small], () => ({ ignoreRange: true }));
    const again = rig(eight, { reach: () => PLAIN });
    await take(again.content.read(small, { start: 0, end: small.size }, context(), OPEN));
    assert.ok(eight.requests.length <= 9, `${eight.requests.length} requests`);
    assert.ok(eight.bytesSent <= small.size + 37 * MIB, `${eight.bytesSent} bytes`);
    await again.content.close();
  });

  it('does not let a peer answer a question of rights', async () => {
    const it = swarmRig(() => verified());
    const opening = it.content.openAsCheck(blob, { start: 0, end: 10 }, context());
    await assert.rejects(opening.verdict, { code: 'internal' });
    opening.close();
    await it.content.close();
  });
});

describe('memory and the disk in a swarm', () => {
  it('holds few landed pieces for a slow reader; the others are in the store', async () => {
    const it = swarmRig(() => verified());
    const reading = it.content.read(blob, { start: 0, end: 50 * MIB }, context(), CLOSED);
    const first = await reading.next();
    assert.ok(first.value instanceof Uint8Array);
    const parts: Buffer[] = [Buffer.from(first.value)];
    await eventually(() => it.store.pieces.get(blob.digest)?.size === 48);
    await settle();
    // Those that its window of 48 brought, without what the disk has let go of.
    assert.ok(it.pool.out <= 10, `${it.pool.out} buffers are held`);
    parts.push(await take(reading));
    assert.ok(Buffer.concat(parts).equals(blob.bytes.subarray(0, 50 * MIB)));
    assert.equal(it.swarm.opens.length, 50);
    await expectQuiet(it);
  });

  it('holds nothing for a slow reader of what a fast one has passed', async () => {
    // In groups of 8, each from its end: they land ahead of the fast reader, and it leaves them behind.
    const it = swarmRig(({ piece }) => verified(Math.floor(piece / 8) * 40 + (7 - (piece % 8)) * 4));
    const slow = it.content.read(blob, { start: 0, end: 40 * MIB }, context(), CLOSED);
    await slow.next();
    await readRight(it, blob, { start: 0, end: 40 * MIB }, CLOSED);
    await eventually(() => it.sink.pending === 0);
    await settle();
    assert.ok(it.pool.out <= 10, `${it.pool.out} buffers are held`);
    await take(slow);
    assert.equal(it.swarm.opens.length, 40);
    await expectQuiet(it);
  });

  it('keeps what was stored a moment ago in memory for its reader and for peers, and lends it unchanged', async () => {
    const it = swarmRig(() => verified(), blob, { reach: () => ({ ...SWARM, freshPieces: 48 }) });
    const sources: SourceName[] = [];
    const reading = it.content.read(
      blob,
      { start: 0, end: 40 * MIB },
      context({ onChunk: (source) => sources.push(source) }),
      CLOSED,
    );
    await reading.next();
    await eventually(() => it.store.pieces.get(blob.digest)?.size === 40);
    const lent = it.content.lendFresh(blob.digest, 30);
    assert.ok(lent !== undefined);
    await take(reading);
    assert.ok(!sources.includes('disk'), 'it was read back');
    assert.ok(sources.filter((source) => source === 'memory').length > 20);
    // A further 60 pieces push it out: whoever has it keeps it.
    await readRight(it, blob, { start: 0, end: blob.size }, CLOSED);
    let fresh = 0;
    for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
      const one = it.content.lendFresh(blob.digest, piece);
      if (one !== undefined) fresh += 1;
      one?.release();
    }
    assert.equal(fresh, 48);
    assert.ok(lent.bytes.equals(blob.bytes.subarray(30 * MIB, 31 * MIB)));
    lent.release();
    // What the store has no more is not lent either.
    it.store.drop(blob.digest);
    for (let piece = 0; piece < pieceCount(blob.size); piece += 1)
      assert.ok(it.content.lendFresh(blob.digest, piece) === undefined);
    await it.content.close();
  });

  it('reads no piece twice for the hash of a whole blob, in whatever order they come', async () => {
    // In groups of 30, each from its end: far more complete ahead of the hash than may wait for it.
    const it = swarmRig(({ piece }) => verified((29 - (piece % 30)) * 4), blob, {
      reach: () => ({ ...SWARM, freshPieces: 48 }),
    });
    await readRight(it, blob, { start: 0, end: blob.size }, WHOLE);
    assert.ok(it.store.isProven(blob.digest));
    const { values } = await it.metrics.pieces.get();
    const looked = values.reduce((sum, { value }) => sum + value, 0);
    // The last one is held back: the hash has it before the client.
    assert.ok(looked <= pieceCount(blob.size) + 1, `${looked} pieces were looked for`);
    await it.content.close();
  });

  it('gives the disk no more pieces at once than it can queue, and loses none', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(() => verified());
    it.sink.hold = gate.promise;
    const reads = [0, 1, 2].map((n) =>
      readRight(it, blob, { start: n * 20 * MIB, end: (n + 1) * 20 * MIB }, CLOSED),
    );
    await settle(200);
    assert.ok(it.sink.pending >= 8 && it.sink.pending <= 16, `${it.sink.pending} at once`);
    gate.resolve();
    await Promise.all(reads);
    await eventually(() => it.store.pieces.get(blob.digest)?.size === 60);
    assert.ok(it.sink.maxPending <= 16, `${it.sink.maxPending} at once`);
    await expectQuiet(it);
  });

  it('serves the piece that a reader stands at before those that wait for the disk', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(() => verified());
    it.sink.hold = gate.promise;
    const filling = it.content.fill(blob, { start: 0, end: 20 * MIB }, context({ urgency: 'prefetch' }));
    const second = it.content.fill(
      blob,
      { start: 20 * MIB, end: 40 * MIB },
      context({ urgency: 'prefetch' }),
    );
    await eventually(() => it.sink.pending === 8);
    await settle();
    assert.equal(it.sink.pending, 8);
    await readRight(it, blob, { start: 22 * MIB + 5, end: 22 * MIB + 1000 }, CLOSED);
    await readRight(it, blob, { start: 45 * MIB, end: 45 * MIB + 1000 }, CLOSED);
    gate.resolve();
    await Promise.all([filling, second]);
    await expectQuiet(it);
  });

  it('reads each piece once where nothing is kept, and looks ahead a few', async () => {
    for (const shape of [OPEN, CLOSED]) {
      const it = swarmRig(() => verified(3), blob, { memoryBytes: 0 });
      it.store.keep = () => false;
      await readRight(it, blob, { start: 0, end: 50 * MIB }, shape);
      assert.equal(it.swarm.opens.length, 50);
      it.swarm.maxPending = 0;
      await readRight(it, blob, { start: 0, end: 12 * MIB }, CLOSED);
      assert.equal(it.swarm.opens.length, 62);
      assert.ok(it.swarm.maxPending <= 4, `${it.swarm.maxPending} at once`);
      // What the disk declined is left to the collector: it may read it still.
      await expectQuiet(it, Number.POSITIVE_INFINITY);
    }
  });

  it('stores all of a burst that is faster than any disk', async () => {
    const folder = await tempFolder();
    try {
      const store = await storeIn(folder.path, { tuning: { queuedWrites: 12 } });
      const { disk, memory, catalog, sink } = store;
      const it = swarmRig(() => verified(), blob, { disk, memory, catalog, sink });
      const declined = async (): Promise<number> =>
        (await store.metrics.storeDeclined.get()).values.reduce((sum, { value }) => sum + value, 0);
      const spans = [0, 20, 40].map((piece) => ({ start: piece * MIB, end: (piece + 20) * MIB }));
      const known = { digest: blob.digest, size: blob.size };
      await Promise.all(
        spans.map(async (span) => {
          for await (const chunk of it.content.read(known, span, context(), CLOSED))
            if (!(chunk instanceof Uint8Array)) chunk.release();
        }),
      );
      await eventually(() => store.catalog.hasPiece(blob.digest, 59) && it.sink.pending === 0);
      assert.equal(await declined(), 0);
      for (let piece = 0; piece < 60; piece += 1) assert.ok(store.catalog.hasPiece(blob.digest, piece));
      assert.equal(it.swarm.opens.length, 60);
      await expectQuiet(it);
      await store.close();
    } finally {
      await folder.remove();
    }
  });

  it('leaves no landed piece with a long fill', async () => {
    for (const reach of [ALONE, PLAIN]) {
      const it = swarmRig(() => verified(), blob, { reach: () => reach });
      let counted = 0;
      let most = 0;
      const span = { start: 0, end: 36 * MIB };
      await it.content.fill(blob, span, context({ urgency: 'prefetch' }), (bytes) => {
        counted += bytes;
        most = Math.max(most, it.pool.out);
      });
      assert.equal(counted, span.end);
      assert.ok(most <= 24, `${most} buffers out`);
      assert.ok(it.swarm.opens.every(({ level }) => level === 'prefetch'));
      assert.equal(it.swarm.opens.length, 36);
      await expectQuiet(it);
    }
  });

  it('fills with 16 pieces at once', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(() => ({ how: 'verified', after: gate.promise }));
    const filling = it.content.fill(blob, { start: 0, end: 24 * MIB }, context({ urgency: 'prefetch' }));
    await settle();
    assert.equal(it.swarm.pending, 16);
    gate.resolve();
    await filling;
    assert.equal(it.swarm.maxPending, 16);
    await expectQuiet(it);
  });
});

describe('who leaves in a swarm', () => {
  it('has the chunk in its hand for as long as it likes', async () => {
    for (const how of ['verified', 'stream'] as const) {
      const it = swarmRig(() => ({ how, after: 2 }));
      await readRight(it, blob, { start: 0, end: 4 * MIB }, CLOSED, { limit: MIB + 10 });
      await eventually(() => it.store.hasPiece(blob.digest, 1));
      // The one that left keeps its piece.
      await expectQuiet(it, 1);
    }
  });

  it('ends what has not begun at once, and lets the rest of a begun piece in', async () => {
    const never = new Promise<void>(() => undefined);
    const it = swarmRig(({ piece }) =>
      piece === 1 ? { how: 'stream' } : piece === 0 ? verified() : { how: 'verified', after: never },
    );
    const abort = new AbortController();
    const reading = it.content.read(
      blob,
      { start: 0, end: 20 * MIB },
      context({ signal: abort.signal }),
      CLOSED,
    );
    await reading.next();
    await eventually(() => it.swarm.sent.origin > 0);
    assert.equal(it.swarm.pending, 18);
    abort.abort(new Error('hung up'));
    await assert.rejects(async () => {
      for await (const _ of reading);
    }, /hung up/);
    await eventually(() => it.swarm.pending === 0);
    assert.equal(it.swarm.cancelled, 18);
    await eventually(() => it.store.hasPiece(blob.digest, 1));
    await expectQuiet(it, 1);
  });

  it('leaves the others what they still want', async () => {
    const gate = Promise.withResolvers<void>();
    const it = swarmRig(() => ({ how: 'verified', after: gate.promise }));
    const abort = new AbortController();
    const first = readRight(it, blob, { start: 0, end: 20 * MIB }, CLOSED, {
      context: { signal: abort.signal },
    });
    const second = readRight(it, blob, { start: 2 * MIB, end: 6 * MIB }, CLOSED);
    await settle();
    assert.equal(it.swarm.pending, 20);
    abort.abort(new Error('hung up'));
    await assert.rejects(first, /hung up/);
    await eventually(() => it.swarm.pending === 4);
    gate.resolve();
    await second;
    assert.equal(it.swarm.opens.length, 20);
    await expectQuiet(it);
  });
});

describe('trouble in a swarm', () => {
  it('tells before wrong bytes are dropped whose blob it was', async () => {
    const doubted: unknown[] = [];
    const it = swarmRig(({ piece }) => (piece === 3 ? { how: 'verified', lieAt: 7 } : verified()), small, {
      doubted: (known) => doubted.push(known, it.store.hasPiece(small.digest, 1)),
    });
    const reading = take(it.content.read(small, { start: 0, end: small.size }, context(), WHOLE));
    await assert.rejects(reading, { code: 'digest-mismatch' });
    assert.deepEqual(doubted, [{ digest: small.digest, size: small.size }, true]);
    assert.equal(it.store.hasAny(small.digest), false);
    await readRight(it, small, { start: 0, end: MIB }, CLOSED);
    it.content.forget(small.digest);
    assert.equal(it.store.hasAny(small.digest), false);
    assert.equal(doubted.length, 2, 'a blob that is forgotten on a wish is not doubted');
    await expectQuiet(it, Number.POSITIVE_INFINITY);
  });

  it('fails a read for the piece it stands at, not for one ahead', async () => {
    const trouble = new DamselflyError('origin-unreachable', 'no');
    const it = swarmRig(({ piece, round }) =>
      piece === 6 && round < 1 ? { how: { error: trouble } } : verified(),
    );
    await readRight(it, blob, { start: 0, end: 10 * MIB }, CLOSED);
    const still = swarmRig(({ piece }) => (piece === 6 ? { how: { error: trouble } } : verified()));
    await assert.rejects(readRight(still, blob, { start: 0, end: 10 * MIB }, CLOSED), trouble);
    await expectQuiet(it);
    await expectQuiet(still);
  });

  it("uses another reader's credential for a piece that the first one's was refused for", async () => {
    const refusal = new OriginRefusal(401, [], Buffer.alloc(0));
    let refused = 0;
    const it = swarmRig(({ round }) => {
      if (round > 0) return { how: 'stream' };
      refused += 1;
      return { how: { error: refusal }, after: 5 };
    }, small);
    const first = readRight(it, small, { start: 0, end: 4 * MIB }, CLOSED, {
      context: { upstream: upstream('Bearer expired') },
    });
    const second = readRight(it, small, { start: 0, end: 4 * MIB }, CLOSED, {
      context: { upstream: upstream('Bearer good') },
    });
    await Promise.all([first, second]);
    assert.equal(refused, 4);
    await expectQuiet(it);
  });

  it('never makes a read wrong, whatever comes late, fails or hangs up', async () => {
    const lost = new DamselflyError('origin-broken', 'lost');
    const reads = fc.array(
      fc.record({
        start: fc.integer({ min: 0, max: tiny.size - 1 }),
        length: fc.oneof(fc.integer({ min: 1, max: 90_000 }), fc.integer({ min: 1, max: tiny.size })),
        shape: fc.constantFrom(OPEN, CLOSED),
        limit: fc.option(fc.integer({ min: 1, max: 6 * MIB }), { nil: undefined }),
        whole: fc.boolean(),
        slow: fc.integer({ min: 0, max: 3 }),
      }),
      { minLength: 1, maxLength: 7 },
    );
    await fc.assert(
      fc.asyncProperty(reads, fc.integer(), fc.integer({ min: 0, max: 3 }), async (all, seed, unkept) => {
        const random = new Random(`swarm ${seed}`);
        const it = swarmRig(
          ({ round }) => {
            const after = random.integer(0, 25);
            // Whoever stands at a piece reads it once more after a flight of others failed, so trouble has an end.
            const dice = round > 1 ? random.integer(0, 6) : random.integer(0, 9);
            if (dice < 4) return verified(after);
            if (dice < 6) return { how: 'stream', after };
            if (dice === 6) return { how: 'nobody', after };
            if (dice === 7) return { how: 'stream', after, lostAfter: random.integer(0, MIB) };
            return { how: { error: lost }, after };
          },
          tiny,
          { memoryBytes: 2 * MIB },
        );
        it.store.keep = (piece) => piece % 4 >= unkept;
        const outcomes = await Promise.allSettled(
          all.map(({ start, length, shape, limit, whole, slow }) =>
            whole
              ? readRight(it, tiny, { start: 0, end: tiny.size }, WHOLE, { slow })
              : readRight(it, tiny, { start, end: Math.min(tiny.size, start + length) }, shape, {
                  slow,
                  ...(limit === undefined ? {} : { limit }),
                }),
          ),
        );
        for (const outcome of outcomes)
          if (outcome.status === 'rejected' && outcome.reason !== lost && outcome.reason?.message !== 'lost')
            throw outcome.reason;
        await expectQuiet(it, Number.POSITIVE_INFINITY);
        for (const [piece, bytes] of it.store.pieces.get(tiny.digest) ?? []) {
          assert.equal(bytes.length, pieceLength(piece, tiny.size));
          assert.equal(bytes.compare(tiny.bytes, piece * MIB, piece * MIB + bytes.length), 0);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('read-ahead in a swarm', () => {
  it('helps a lazy reader beside another, bounded and at prefetch urgency', async () => {
    const never = new Promise<void>(() => undefined);
    const it = swarmRig(({ piece }) => (piece >= 50 ? { how: 'verified', after: never } : verified()));
    // Five pieces are waited for: alone that many requests would be a full line.
    const stop = new AbortController();
    const waiting = readRight(it, blob, { start: 50 * MIB, end: 55 * MIB }, CLOSED, {
      context: { signal: stop.signal },
    });
    for (const i of [0, 1, 2]) {
      const span = { start: i * 900_000, end: (i + 1) * 900_000 };
      it.content.anticipate(blob, span, { missed: true, hinted: false }, context());
      await readRight(it, blob, span, CLOSED);
      await settle();
    }
    await eventually(() => it.store.hasPiece(blob.digest, 4));
    const ahead = it.swarm.opens.filter(({ level }) => level === 'prefetch');
    assert.ok(ahead.length >= 2 && ahead.length <= 8, `${ahead.length} ahead`);
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    await expectQuiet(it);
  });
});
