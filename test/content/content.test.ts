import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import type { Chunk } from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { ReadContext } from '../../src/content/parts.ts';
import { DamselflyError, OriginRefusal } from '../../src/errors.ts';
import { FakeOrigin, type Rig, rig, settle, take, testBlob, upstream } from './fakes.ts';

const MIB = PIECE_BYTES;
const blob = testBlob(20 * MIB + 12_345);

function context(overrides: Partial<ReadContext> = {}): ReadContext {
  return { upstream: upstream(), urgency: 'demand', signal: AbortSignal.timeout(20_000), ...overrides };
}

/** A copy: a chunk is its reader's until the next one is asked for. */
async function firstBytes(chunks: AsyncIterator<Chunk, void>): Promise<Buffer> {
  const { value } = await chunks.next();
  assert.ok(value instanceof Uint8Array);
  return Buffer.from(value);
}

const RANGE = { whole: false, open: false };

async function readSpan({ content }: Rig, span: Span, overrides: Partial<ReadContext> = {}): Promise<Buffer> {
  return take(content.read(blob, span, context(overrides), RANGE));
}

describe('Content.read', () => {
  it('delivers any span cold, and again warm without the origin', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: blob.size - 1 }), fc.integer({ min: 1, max: 3 * MIB })), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.integer({ min: 5_000, max: 200_000 }),
        async (reads, chunk) => {
          const it = rig(new FakeOrigin([blob], undefined, () => chunk));
          const spans = reads.map(([start, length]) => ({ start, end: Math.min(start + length, blob.size) }));
          const cold = await Promise.all(spans.map((span) => readSpan(it, span)));
          for (const [i, span] of spans.entries())
            assert.ok(cold[i]?.equals(blob.bytes.subarray(span.start, span.end)));
          await settle();
          const asked = it.origin.requests.length;
          for (const span of spans)
            assert.ok((await readSpan(it, span)).equals(blob.bytes.subarray(span.start, span.end)));
          assert.equal(it.origin.requests.length, asked);
          assert.equal(it.origin.open_, 0);
          await it.content.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('reads each byte of the origin once for many concurrent readers of the whole', async () => {
    const it = rig(new FakeOrigin([blob]));
    const reads = Array.from({ length: 8 }, () =>
      take(it.content.read(blob, { start: 0, end: blob.size }, context(), { whole: true, open: true })),
    );
    for (const bytes of await Promise.all(reads)) assert.ok(bytes.equals(blob.bytes));
    assert.equal(it.origin.bytesSent, blob.size);
    assert.ok(it.store.isProven(blob.digest));
  });

  it('hashes what was here already as it goes, not all at the end', async () => {
    const it = rig(new FakeOrigin([blob]));
    await readSpan(it, { start: 0, end: 20 * MIB });
    const { disk } = it.store;
    const open = disk.open.bind(disk);
    const opened: number[] = [];
    disk.open = (address, span, options) => {
      opened.push(span.start / MIB);
      return open(address, span, options);
    };
    let beforeLast = 0;
    let position = 0;
    const body = it.content.read(blob, { start: 0, end: blob.size }, context(), { whole: true, open: true });
    for await (const chunk of body) {
      position += chunk.length;
      if (position === 20 * MIB) beforeLast = opened.length;
    }
    assert.ok(it.store.isProven(blob.digest));
    // The last piece's client waits for what comes after: it must not be the whole blob.
    assert.ok(opened.length - beforeLast <= 8, `${opened.length - beforeLast} reads of the disk at the end`);
  });

  it('costs about one blob when ten clients take open-ended chunks and hang up', async () => {
    const it = rig(new FakeOrigin([blob]));
    const chunk = 2 * MIB;
    const starts = Array.from({ length: Math.ceil(blob.size / chunk) }, (_, i) => i * chunk);
    const reads = starts.map(async (start) => {
      const abort = new AbortController();
      const span = { start, end: blob.size };
      const bytes = await take(
        it.content.read(blob, span, context({ signal: abort.signal }), { whole: false, open: true }),
        chunk,
      );
      abort.abort();
      return bytes.subarray(0, chunk);
    });
    const parts = await Promise.all(reads);
    assert.ok(Buffer.concat(parts).equals(blob.bytes));
    await settle();
    assert.ok(it.origin.bytesSent <= blob.size * 1.05, `${it.origin.bytesSent} of ${blob.size}`);
  });

  it('asks for the wanted offset first and the beginning of the piece last', async () => {
    const it = rig(new FakeOrigin([blob]));
    const start = 5 * MIB + 700_000;
    assert.ok(
      (await readSpan(it, { start, end: start + 1000 })).equals(blob.bytes.subarray(start, start + 1000)),
    );
    await settle();
    assert.deepEqual(
      it.origin.requests.map(({ span }) => span),
      [
        { start, end: 6 * MIB },
        { start: 5 * MIB, end: start },
      ],
    );
    assert.ok(it.store.hasPiece(blob.digest, 5));
  });

  it('merges a run of missing pieces into one request', async () => {
    const it = rig(new FakeOrigin([blob]));
    await readSpan(it, { start: 2 * MIB, end: 7 * MIB });
    assert.deepEqual(
      it.origin.requests.map(({ span }) => span),
      [{ start: 2 * MIB, end: 7 * MIB }],
    );
  });

  it('stops soon after its only reader hung up, but lets a short remainder in', async () => {
    const it = rig(new FakeOrigin([blob]));
    const abort = new AbortController();
    await take(
      it.content.read(blob, { start: 0, end: blob.size }, context({ signal: abort.signal }), {
        whole: false,
        open: true,
      }),
      1000,
    );
    abort.abort();
    await settle(200);
    assert.ok(it.store.hasPiece(blob.digest, 0));
    // The first run of an open read and the one requested ahead of it: short remainders are let in.
    assert.ok(it.origin.bytesSent <= 8 * MIB, String(it.origin.bytesSent));
    assert.equal(it.origin.open_, 0);
  });

  it('goes on for the others when the first reader hangs up', async () => {
    const gate = Promise.withResolvers<void>();
    const it = rig(new FakeOrigin([blob], ({ index }) => (index === 0 ? { hold: gate.promise } : undefined)));
    const abort = new AbortController();
    const first = readSpan(it, { start: 0, end: 1000 }, { signal: abort.signal });
    const second = readSpan(it, { start: 100, end: 2000 });
    await settle();
    abort.abort(new Error('hung up'));
    await assert.rejects(first, /hung up/);
    gate.resolve();
    assert.ok((await second).equals(blob.bytes.subarray(100, 2000)));
    assert.equal(it.origin.requests.length, 1);
  });

  it("uses the next reader's credential when that of the flight is refused", async () => {
    const refusal = new OriginRefusal(401, [], Buffer.alloc(0));
    const gate = Promise.withResolvers<void>();
    const it = rig(
      new FakeOrigin([blob], ({ upstream: { credential } }) =>
        credential.secret().includes('expired') ? { hold: gate.promise, error: refusal } : undefined,
      ),
    );
    const first = readSpan(it, { start: 0, end: 1000 }, { upstream: upstream('Bearer expired') });
    const second = readSpan(it, { start: 0, end: 1000 }, { upstream: upstream('Bearer good') });
    await settle();
    gate.resolve();
    assert.ok((await second).equals(blob.bytes.subarray(0, 1000)));
    await first;
  });

  it("does not give another requester's refusal to a reader", async () => {
    const refusal = new OriginRefusal(403, [], Buffer.alloc(0));
    const it = rig(
      new FakeOrigin([blob], ({ upstream: { credential } }) =>
        credential.isAnonymous ? { error: refusal } : undefined,
      ),
    );
    const opening = it.content.openAsCheck(blob, { start: 0, end: 1000 }, context());
    const other = readSpan(it, { start: 0, end: 1000 }, { upstream: upstream('Bearer good') });
    await assert.rejects(opening.verdict, OriginRefusal);
    opening.close();
    assert.ok((await other).equals(blob.bytes.subarray(0, 1000)));
  });

  it('throws what the origin answered its own flight, and keeps nothing open', async () => {
    const trouble = new DamselflyError('origin-unreachable', 'no');
    const it = rig(new FakeOrigin([blob], () => ({ error: trouble })));
    await assert.rejects(readSpan(it, { start: 0, end: 10 }), trouble);
    assert.equal(it.content.isNear(blob.digest, 0), false);
  });

  it('keeps the pieces that came before a body was lost', async () => {
    const lost = new DamselflyError('origin-broken', 'lost');
    const it = rig(
      new FakeOrigin([blob], ({ index }) =>
        index === 0 ? { failAfter: { bytes: 2.5 * MIB, error: lost } } : undefined,
      ),
    );
    await assert.rejects(readSpan(it, { start: 0, end: 4 * MIB }), lost);
    await settle();
    assert.ok(it.store.hasPiece(blob.digest, 0) && it.store.hasPiece(blob.digest, 1));
    assert.ok((await readSpan(it, { start: 0, end: 4 * MIB })).equals(blob.bytes.subarray(0, 4 * MIB)));
  });

  it('takes everything along when the origin ignores Range', async () => {
    const it = rig(new FakeOrigin([blob], () => ({ ignoreRange: true })));
    const start = 3 * MIB + 5;
    assert.ok(
      (await readSpan(it, { start, end: start + 100 })).equals(blob.bytes.subarray(start, start + 100)),
    );
    await settle(200);
    assert.ok(it.store.isComplete(blob.digest));
    assert.equal(it.origin.requests.length, 1);
  });

  it("serves at the fastest reader's pace when nothing can be stored, a slow reader included", async () => {
    const it = rig(new FakeOrigin([blob]));
    it.store.keep = () => false;
    const slow = it.content.read(blob, { start: 0, end: blob.size }, context(), RANGE);
    const first = await firstBytes(slow);
    await settle(300);
    assert.ok(it.origin.bytesSent <= 12 * MIB, `${it.origin.bytesSent} read for one slow reader`);
    const rest = await take(slow);
    assert.ok(Buffer.concat([first, rest]).equals(blob.bytes));
  });
});

describe('a fill', () => {
  it('is not held back by a reader that has stalled', async () => {
    const it = rig(new FakeOrigin([blob]));
    const stalled = it.content.read(blob, { start: 0, end: 16 * MIB }, context(), RANGE);
    const first = await firstBytes(stalled);
    for (let turn = 0; turn < 1000 && !it.store.hasPiece(blob.digest, 15); turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(it.store.hasPiece(blob.digest, 15));
    const rest = await take(stalled);
    assert.ok(Buffer.concat([first, rest]).equals(blob.bytes.subarray(0, 16 * MIB)));
  });
});

describe('whole reads', () => {
  const WHOLE = { whole: true, open: true };

  it('hold the last piece back and fail when the digest does not match, then read anew', async () => {
    let corrupt = true;
    const it = rig(new FakeOrigin([blob], ({ span }) => ({ corrupt: corrupt && span.start === 0 })));
    let got = 0;
    const reading = (async () => {
      for await (const chunk of it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE))
        got += chunk.length;
    })();
    await assert.rejects(reading, { code: 'digest-mismatch' });
    assert.ok(got <= 20 * MIB, `${got} handed out`);
    assert.equal(it.store.isComplete(blob.digest), false);
    corrupt = false;
    const again = await take(it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE));
    assert.ok(again.equals(blob.bytes));
  });

  it('leave nothing wrong behind, also of pieces that were on their way to the disk', async () => {
    let corrupt = true;
    const it = rig(new FakeOrigin([blob], ({ span }) => ({ corrupt: corrupt && span.start === 0 })));
    const disk = Promise.withResolvers<boolean>();
    it.store.keep = () => disk.promise;
    const wrong = take(it.content.read(blob, { start: 0, end: 3 * MIB }, context(), RANGE));
    const whole = take(it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE));
    await wrong;
    it.store.keep = () => true;
    await assert.rejects(whole, { code: 'digest-mismatch' });
    corrupt = false;
    const again = it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE);
    const first = await firstBytes(again);
    disk.resolve(true);
    assert.ok(Buffer.concat([first, await take(again)]).equals(blob.bytes));
    await settle(100);
    const warm = await take(it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE));
    assert.ok(warm.equals(blob.bytes), 'a wrong piece came back');
  });

  it('check a blob of which some pieces were here before', async () => {
    const it = rig(new FakeOrigin([blob]));
    await readSpan(it, { start: 3 * MIB, end: 9 * MIB });
    const bytes = await take(it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE));
    assert.ok(bytes.equals(blob.bytes));
    assert.ok(it.store.isProven(blob.digest));
    assert.equal(it.origin.bytesSent, blob.size);
  });

  it('check the digest when nothing can be stored', async () => {
    const it = rig(new FakeOrigin([blob], ({ span }) => ({ corrupt: span.start === 0 })));
    it.store.keep = () => false;
    await assert.rejects(take(it.content.read(blob, { start: 0, end: blob.size }, context(), WHOLE)), {
      code: 'digest-mismatch',
    });
  });

  it('of an empty blob are checked as well', async () => {
    const empty = testBlob(0);
    const lie = { digest: blob.digest, size: 0 };
    const it = rig(new FakeOrigin([empty]));
    assert.equal((await take(it.content.read(empty, { start: 0, end: 0 }, context(), WHOLE))).length, 0);
    await assert.rejects(take(it.content.read(lie, { start: 0, end: 0 }, context(), WHOLE)), {
      code: 'digest-mismatch',
    });
  });

  it('are not needed to prove a blob that lazy reads completed', async () => {
    const it = rig(new FakeOrigin([blob]));
    for (let start = 0; start < blob.size; start += 5 * MIB)
      await readSpan(it, { start, end: Math.min(start + 5 * MIB, blob.size) });
    for (let turn = 0; turn < 100 && !it.store.isProven(blob.digest); turn += 1) await settle();
    assert.ok(it.store.isProven(blob.digest));
  });
});

describe('Content.learn and openAsCheck', () => {
  it('learn the size from the read that the client wants anyway', async () => {
    const it = rig(new FakeOrigin([blob]));
    const unknown = { digest: blob.digest, size: undefined };
    const { info, close } = await it.content.learn(unknown, { start: 0, end: undefined }, context());
    assert.equal(info.size, blob.size);
    const reading = it.content.read(blob, { start: 0, end: 4 * MIB }, context(), RANGE);
    await reading.next();
    close();
    await take(reading);
    assert.equal(it.origin.requests.length, 1);
    assert.equal(it.origin.bytesSent, 4 * MIB);
  });

  it('tell the opener what the origin answered it, and nobody else', async () => {
    const it = rig(new FakeOrigin([blob]));
    const unknown = { digest: blob.digest, size: undefined };
    const opening = it.content.openAsCheck(unknown, { start: 0, end: undefined }, context());
    assert.equal((await opening.verdict).size, blob.size);
    opening.close();
    await settle(100);
    assert.equal(it.origin.open_, 0);
  });
});

describe('read-ahead', () => {
  it('begins with the second read in a row, not with the first', async () => {
    const it = rig(new FakeOrigin([blob]));
    const spans = [0, 1, 2].map((i) => ({ start: i * 900_000, end: (i + 1) * 900_000 }));
    for (const [i, span] of spans.entries()) {
      it.content.anticipate(blob, span, { missed: true, hinted: false }, context());
      await readSpan(it, span);
      await settle();
      if (i === 0) assert.equal(it.origin.requests.length, 1);
    }
    assert.ok(it.store.hasPiece(blob.digest, 4), 'a piece that nobody asked for yet');
    assert.ok(it.origin.requests.some(({ level }) => level === 'prefetch'));
    await it.content.close();
  });

  it('ends when what was read ahead is not used', async () => {
    const big = testBlob(60 * MIB);
    const it = rig(new FakeOrigin([big]));
    for (let i = 0; i < 25; i += 1) {
      const start = ((i * 7) % 58) * MIB;
      it.content.anticipate(big, { start, end: start + 1000 }, { missed: true, hinted: true }, context());
      await settle();
    }
    await it.content.close();
    assert.ok(it.origin.bytesSent <= 40 * MIB, String(it.origin.bytesSent));
  });
});
