import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { Chunk } from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { ReadContext } from '../../src/content/parts.ts';
import { eventually } from '../support/eventually.ts';
import { FakeOrigin, type Rig, rig, type Script, settle, take, testBlob, upstream } from './fakes.ts';

const MIB = PIECE_BYTES;
const SMALL = 64 * 1024;
const blob = testBlob(12 * MIB + 12_345);
const SHAPE = { whole: false, open: false };

function context(): ReadContext {
  return { upstream: upstream(), urgency: 'demand', signal: AbortSignal.timeout(20_000) };
}

/** A node whose disk takes nothing, and whose memory tier takes `pieces`. */
function unkept(pieces: number, script?: Script): Rig {
  const it = rig(new FakeOrigin([blob], script), { memoryBytes: pieces * MIB });
  it.store.keep = () => false;
  return it;
}

async function readRight({ content }: Rig, span: Span): Promise<void> {
  const bytes = await take(content.read(blob, span, context(), SHAPE));
  assert.ok(bytes.equals(blob.bytes.subarray(span.start, span.end)), `${span.start}-${span.end}`);
}

/** As a client that reads range after range, each begun when the one before has ended. */
async function readThrough(it: Rig, step: number, missed = true): Promise<void> {
  for (let start = 0; start < blob.size; start += step) {
    const span = { start, end: Math.min(blob.size, start + step) };
    it.content.anticipate(blob, span, { missed, hinted: false }, context());
    await readRight(it, span);
    await settle(4);
  }
}

async function* lingering(chunks: AsyncIterable<Chunk>, until: Promise<void>): AsyncGenerator<Chunk> {
  try {
    yield* chunks;
  } finally {
    await until;
  }
}

describe('a piece that only memory holds', () => {
  it('is here: nobody asks the origin for it again', async () => {
    const it = unkept(16);
    await readRight(it, { start: 2 * MIB, end: 2 * MIB + 100 });
    await eventually(() => it.store.memory.hasPiece(blob.digest, 2));
    await eventually(() => it.origin.open_ === 0);
    assert.ok(it.content.isNear(blob.digest, 2 * MIB + 5_000));
    assert.ok(it.content.isAnywhere(blob.digest));
    const { length } = it.origin.requests;
    await readRight(it, { start: 2 * MIB + 500_000, end: 3 * MIB });
    assert.equal(it.origin.requests.length, length);
    // Around it: what is missing, and no more.
    await readRight(it, { start: 1 * MIB, end: 4 * MIB });
    await settle();
    assert.equal(it.origin.bytesSent, 3 * MIB);
    await it.content.close();
  });

  it('is read ahead as far as memory holds it until its turn comes', async () => {
    const it = unkept(16);
    await readThrough(it, SMALL);
    assert.equal(it.origin.bytesSent, blob.size);
    assert.ok(it.origin.requests.some(({ level }) => level === 'prefetch'));
    await it.content.close();
  });

  it('is not read ahead by a tier that is too small for it', async () => {
    const it = unkept(3);
    await readThrough(it, SMALL);
    assert.ok(it.origin.bytesSent <= blob.size + 2 * MIB, `${it.origin.bytesSent} of ${blob.size}`);
    await it.content.close();
  });

  it('does not make a prefetch believe that it is on the disk', async () => {
    const it = unkept(16);
    const filling = it.content.fill(blob, { start: 0, end: blob.size }, context());
    await assert.rejects(filling, { code: 'cache-unusable' });
    await it.content.close();
  });
});

describe('a piece that nothing keeps', () => {
  for (const step of [SMALL, 300_000, MIB]) {
    it(`costs a reader by ranges of ${step} what it reads, and the pieces that were tried`, async () => {
      const it = unkept(0);
      await readThrough(it, step);
      // The first piece, and the window that its reader got before it was known not to be kept.
      assert.ok(it.origin.bytesSent <= blob.size + 4 * MIB, `${it.origin.bytesSent} of ${blob.size}`);
      assert.equal(it.origin.open_, 0);
      await it.content.close();
    });
  }

  it('is not fetched again by a reader who is slower than the origin', async () => {
    const it = unkept(0);
    let position = 0;
    for await (const chunk of it.content.read(blob, { start: 0, end: blob.size }, context(), SHAPE)) {
      position += chunk.length;
      await settle(3);
    }
    assert.equal(position, blob.size);
    assert.equal(it.origin.bytesSent, blob.size);
    await it.content.close();
  });

  it('does not take with it what was to be read ahead', async () => {
    const it = unkept(0);
    const span = { start: 0, end: SMALL };
    it.content.anticipate(blob, span, { missed: true, hinted: true }, context());
    await readRight(it, span);
    await eventually(() => it.origin.open_ === 0);
    assert.ok(it.origin.bytesSent < 4 * MIB, `${it.origin.bytesSent} for one small read`);
    await it.content.close();
  });

  it('is not waited for by the next reader when only a part of it was wanted', async () => {
    const it = unkept(0);
    const gate = Promise.withResolvers<void>();
    await readRight(it, { start: 0, end: SMALL });
    await eventually(() => it.origin.open_ === 0);
    await settle();
    const before = it.origin.bytesSent;
    // The connection's end takes its time: the flight has what it wanted, and is not over.
    const open = it.origin.open.bind(it.origin);
    it.origin.open = async (...args) => {
      const opened = await open(...args);
      return opened === null ? null : { ...opened, chunks: lingering(opened.chunks, gate.promise) };
    };
    for (let n = 0; n < 4; n += 1)
      await readRight(it, { start: 5 * MIB + n * SMALL, end: 5 * MIB + (n + 1) * SMALL });
    gate.resolve();
    await settle();
    assert.equal(it.origin.bytesSent - before, 4 * SMALL);
    await it.content.close();
  });

  it('is right when a later answer of its flight ignores Range', async () => {
    const gate = Promise.withResolvers<void>();
    const start = 5 * MIB + 300_000;
    const it = unkept(0, ({ index }) =>
      index === 1
        ? { hold: gate.promise, holdAt: start + 1 }
        : index === 2
          ? { ignoreRange: true }
          : undefined,
    );
    await readRight(it, { start: 0, end: SMALL });
    await eventually(() => it.origin.open_ === 0);
    const first = readRight(it, { start, end: start + SMALL });
    await eventually(() => it.origin.requests.length === 2);
    const more = readRight(it, { start: 5 * MIB + 100, end: 6 * MIB });
    await settle();
    gate.resolve();
    await Promise.all([first, more]);
    // The same flight went on with the beginning of the piece.
    assert.deepEqual(it.origin.requests[3]?.span, { start: 5 * MIB, end: start });
    await it.content.close();
  });

  it("is left alone by a whole answer that is past its beginning when it becomes nobody's", async () => {
    const [ofPart, ofWhole] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const it = unkept(0, ({ index }) => {
      if (index === 1) return { hold: ofPart.promise, holdAt: 5 * MIB + SMALL };
      if (index === 2) return { ignoreRange: true, hold: ofWhole.promise, holdAt: 5 * MIB + 500_000 };
      return undefined;
    });
    await readRight(it, { start: 0, end: SMALL });
    await eventually(() => it.origin.open_ === 0);
    const part = readRight(it, { start: 5 * MIB, end: 5 * MIB + 2 * SMALL });
    await eventually(() => it.origin.requests.length === 2);
    const body = take(it.content.read(blob, { start: 3 * MIB, end: 4 * MIB + SMALL }, context(), SHAPE));
    await eventually(() => it.origin.bytesSent > 6 * MIB);
    ofPart.resolve();
    await part;
    const later = readRight(it, { start: 7 * MIB, end: 8 * MIB });
    await settle();
    ofWhole.resolve();
    await Promise.all([body, later]);
    assert.ok((await body).equals(blob.bytes.subarray(3 * MIB, 4 * MIB + SMALL)));
    assert.equal(it.origin.requests.length, 3, 'the whole answer was given up');
    await it.content.close();
  });

  it('is read once by those who want different parts of it at once', async () => {
    const gate = Promise.withResolvers<void>();
    const it = unkept(0, ({ index }) => (index === 1 ? { hold: gate.promise } : undefined));
    await readRight(it, { start: 0, end: SMALL });
    await eventually(() => it.origin.open_ === 0);
    await settle();
    const before = it.origin.bytesSent;
    const parts = Array.from({ length: 12 }, (_, n) => ({
      start: 5 * MIB + ((n * 7) % 12) * SMALL,
      end: 5 * MIB + (((n * 7) % 12) + 1) * SMALL,
    }));
    const reads = parts.map((span) => readRight(it, span));
    await settle();
    gate.resolve();
    await Promise.all(reads);
    await settle();
    assert.ok(it.origin.bytesSent - before <= MIB, `${it.origin.bytesSent - before} for one piece`);
    await it.content.close();
  });

  it('comes whole when the origin ignores Range', async () => {
    const it = unkept(0, () => ({ ignoreRange: true }));
    for (const start of [0, 3 * MIB + 5, 7 * MIB]) await readRight(it, { start, end: start + SMALL });
    await it.content.close();
  });

  it('is offered again and kept once the disk takes pieces', async () => {
    const it = unkept(0);
    await readRight(it, { start: 0, end: SMALL });
    await eventually(() => it.origin.open_ === 0);
    it.store.keep = () => true;
    await eventually(
      async () => {
        await readRight(it, { start: 3 * MIB, end: 3 * MIB + SMALL });
        return it.store.hasPiece(blob.digest, 3);
      },
      { timeoutMs: 10_000, everyMs: 50 },
    );
    await it.content.close();
  });

  it('is right for any readers at once, whatever is kept and whatever the origin does', async () => {
    const reads = fc.array(
      fc.record({
        start: fc.integer({ min: 0, max: blob.size - 1 }),
        length: fc.oneof(fc.integer({ min: 1, max: SMALL }), fc.integer({ min: 1, max: 3 * MIB })),
      }),
      { minLength: 1, maxLength: 8 },
    );
    const rounds = fc.array(fc.record({ reads, keep: fc.integer({ min: 0, max: 3 }) }), {
      minLength: 2,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(rounds, fc.constantFrom(0, 2), fc.boolean(), async (all, pieces, ignores) => {
        const it = unkept(pieces, ({ index }) =>
          ignores && index % 3 === 2 ? { ignoreRange: true } : undefined,
        );
        for (const round of all) {
          it.store.keep = (piece) => piece % 3 < round.keep - 1;
          const spans = round.reads.map(({ start, length }) => ({
            start,
            end: Math.min(blob.size, start + length),
          }));
          await Promise.all(spans.map((span) => readRight(it, span)));
        }
        await it.content.close();
        assert.equal(it.origin.open_, 0);
      }),
      { numRuns: 30 },
    );
  });
});
