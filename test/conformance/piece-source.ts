import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { read } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { Credential } from '../../src/blob/credential.ts';
import { type Digest, digestOf, parseDigest } from '../../src/blob/digest.ts';
import { PIECE_BYTES, pieceAt, pieceSpan, SEGMENT_BYTES, SEGMENT_PIECES } from '../../src/blob/piece.ts';
import {
  type BlobAddress,
  type Chunk,
  isFileSlice,
  type OpenedRead,
  type OpenOptions,
  type PieceSource,
  type VerifiedPiece,
} from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { OriginId, Upstream } from '../../src/blob/upstream.ts';
import { Urgency } from '../../src/blob/urgency.ts';
import { hasCode } from '../../src/errors.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { seededBytes } from '../support/origin/content.ts';
import { Random } from '../support/random.ts';

const readAsync = promisify(read);

/** A blob whose bytes the test knows. */
export interface SampleBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
  readonly bytes: Buffer;
}

/** What a harness has to have at hand before the first open. */
export interface HarnessWish {
  readonly blob: SampleBlob;
  /** Pieces that the source must not have. Empty for sources that always have all. */
  readonly missing: readonly number[];
}

export interface SourceHarness {
  readonly source: PieceSource;
  /** Where the blob may be asked for; sources on the node ignore it. */
  readonly upstream?: Upstream;
  /** Ends all that the harness has started. */
  close(): Promise<void>;
}

/** What a kind of source can't be held to. */
export interface SourceTraits {
  /** False when the source has always all of a blob: the rules on missing pieces don't apply. */
  readonly canMiss: boolean;
  /** Whether a blob that the source does not know is null; otherwise it is a throw. */
  readonly unknownIsNull: boolean;
  /** Whether `info.mediaType` is that of the blob. Default true. */
  readonly tellsMediaType?: boolean;
}

const nowhere: Upstream = {
  origin: 'http://origin.test' as OriginId,
  repository: 'lab/img',
  kind: 'blob',
  credential: Credential.anonymous,
};

/** Two segments, and a last piece of an odd length: every kind of border is in it. */
export function sampleBlob(size = SEGMENT_BYTES + 2 * PIECE_BYTES + 12_345): SampleBlob {
  const bytes = seededBytes(`conformance:${size}`, { start: 0, end: size });
  return { digest: digestOf(bytes), size, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', bytes };
}

/**
 * The rules of PieceSource (src/blob/source.ts), for any of its implementations.
 * @param makeHarness called for each test; what it returns is closed by the suite, and must then leave nothing open.
 */
export function pieceSourceConformance(
  name: string,
  traits: SourceTraits,
  makeHarness: (wish: HarnessWish, t: TestContext) => Promise<SourceHarness>,
): void {
  const blob = sampleBlob();

  /** Runs `work` on a fresh source and expects nothing to stay open behind it. */
  const rule = (
    title: string,
    wish: Partial<HarnessWish>,
    work: (kit: Kit) => Promise<void>,
    options: { skip?: string | false } = {},
  ): void => {
    test(title, { skip: options.skip ?? false }, async (t) => {
      await expectNoLeak(async () => {
        const harness = await makeHarness({ blob, missing: [], ...wish }, t);
        try {
          await work(new Kit(harness, wish.blob ?? blob));
        } finally {
          await harness.close();
        }
      });
    });
  };
  const skip = traits.canMiss ? false : 'this source never misses a piece';

  describe(`${name} as a PieceSource`, () => {
    rule('delivers a whole blob, open by open', {}, async (kit) => {
      assert.ok((await kit.readAll({ start: 0, end: blob.size })).equals(blob.bytes));
    });

    rule('says what it knows of the blob', {}, async (kit) => {
      const opened = await kit.mustOpen({ start: 0, end: 1 });
      opened.close();
      assert.equal(opened.info.size, blob.size);
      if (traits.tellsMediaType ?? true) assert.equal(opened.info.mediaType, blob.mediaType);
    });

    rule('is exact at every border of pieces, segments and the blob', {}, async (kit) => {
      const borders = [0, PIECE_BYTES, SEGMENT_BYTES, SEGMENT_BYTES + 2 * PIECE_BYTES, blob.size];
      for (const border of borders) {
        for (const [before, after] of [
          [1, 0],
          [0, 1],
          [1, 1],
          [4096, 3],
        ] as const) {
          const span = { start: Math.max(0, border - before), end: Math.min(blob.size, border + after) };
          if (span.start >= span.end || span.start >= blob.size) continue;
          await kit.expectBytes(span);
        }
      }
    });

    rule('is exact for any span', {}, async (kit) => {
      const random = new Random(name);
      for (let round = 0; round < 40; round += 1) {
        const start = random.integer(0, blob.size);
        const length = random.integer(1, random.pick([16, 200_000, 3 * PIECE_BYTES]));
        await kit.expectBytes({ start, end: Math.min(blob.size, start + length) });
      }
    });

    rule('clips a span that ends past the blob', {}, async (kit) => {
      const opened = await kit.mustOpen({ start: blob.size - 10, end: blob.size + 1000 });
      assert.equal(opened.span.end, blob.size);
      assert.ok((await kit.take(opened)).subarray(-10).equals(blob.bytes.subarray(-10)));
    });

    rule('refuses a span that starts at the end or past it', {}, async (kit) => {
      for (const start of [blob.size, blob.size + 1, blob.size + 10 * SEGMENT_BYTES]) {
        await assert.rejects(
          kit.open({ start, end: start + 1 }),
          (error) => hasCode(error, 'range-not-satisfiable'),
          `start ${start}`,
        );
      }
    });

    rule('has no byte of an empty blob', { blob: sampleBlob(0) }, async (kit) => {
      await assert.rejects(kit.open({ start: 0, end: 1 }), (error) =>
        hasCode(error, 'range-not-satisfiable'),
      );
    });

    rule('knows a blob of one short piece', { blob: sampleBlob(777) }, async (kit) => {
      await kit.expectBytes({ start: 0, end: 777 });
      await kit.expectBytes({ start: 776, end: 777 });
    });

    rule('does not know other blobs', {}, async (kit) => {
      const other = parseDigest(`sha256:${'0'.repeat(64)}`);
      assert.ok(other);
      const open = kit.open({ start: 0, end: 1 }, { digest: other, size: 1 << 30 });
      if (traits.unknownIsNull) assert.equal(await open, null);
      else await assert.rejects(open);
    });

    rule(
      'answers null at a missing piece and ends in front of one',
      { missing: [0, 3, 4, SEGMENT_PIECES] },
      async (kit) => {
        for (const piece of [0, 3, 4, SEGMENT_PIECES]) {
          const start = piece * PIECE_BYTES;
          assert.equal(await kit.open({ start, end: start + 10 }), null, `piece ${piece}`);
          assert.equal(await kit.open({ start: start + PIECE_BYTES - 1, end: blob.size }), null);
        }
        const opened = await kit.mustOpen({ start: PIECE_BYTES + 5, end: blob.size });
        assert.ok(opened.span.end <= 3 * PIECE_BYTES, `ends at ${opened.span.end}`);
        await kit.expectTaken(opened, { start: PIECE_BYTES + 5, end: opened.span.end });
        await kit.expectBytes({ start: 5 * PIECE_BYTES, end: SEGMENT_BYTES });
        await kit.expectBytes({ start: SEGMENT_BYTES + PIECE_BYTES, end: blob.size });
      },
      { skip },
    );

    rule('serves many at once', {}, async (kit) => {
      const random = new Random(`${name} many`);
      await Promise.all(
        Array.from({ length: 24 }, async (_, n) => {
          const start = n < 8 ? 1000 : random.integer(0, blob.size - 1);
          await kit.expectBytes({ start, end: Math.min(blob.size, start + 300_000) });
        }),
      );
    });

    rule('ends an open for an aborted signal with its reason', {}, async (kit) => {
      const reason = new Error('gone');
      await assert.rejects(
        kit.open({ start: 0, end: 10 }, undefined, AbortSignal.abort(reason)),
        (error) => error === reason,
      );
    });

    rule('ends an open that is aborted while it runs', {}, async (kit) => {
      const abort = new AbortController();
      const reason = new Error('gone');
      const open = kit.open({ start: 0, end: 10 }, undefined, abort.signal);
      abort.abort(reason);
      const opened = await open.catch((error: unknown) => assert.equal(error, reason));
      // It may have been quicker than the abort; then its iteration ends.
      if (opened) await assert.rejects(kit.take(opened), (error) => error === reason);
    });

    rule('ends an iteration with the reason of an abort', {}, async (kit) => {
      const abort = new AbortController();
      const reason = new Error('gone');
      const opened = await kit.mustOpen({ start: 100, end: blob.size }, abort.signal);
      const chunks = opened.chunks[Symbol.asyncIterator]();
      const first = await chunks.next();
      assert.ok(!first.done);
      await kit.bytesOf(first.value);
      const second = chunks.next();
      abort.abort(reason);
      const results = await Promise.allSettled([second, chunks.next(), chunks.next()]);
      for (const result of results) {
        if (result.status === 'fulfilled' && !result.value.done) await kit.bytesOf(result.value.value);
      }
      const last = results.at(-1);
      const ended = last?.status === 'rejected' ? last.reason === reason : last?.value.done === true;
      assert.ok(ended, 'the iteration went on after the abort');
      opened.close();
    });

    rule('lets go when the loop is left early', {}, async (kit) => {
      const opened = await kit.mustOpen({ start: 0, end: blob.size });
      for await (const chunk of opened.chunks) {
        await kit.bytesOf(chunk);
        break;
      }
      await kit.expectBytes({ start: 0, end: 10 });
    });

    rule('lets go of what was opened and never read', {}, async (kit) => {
      const opened = await kit.mustOpen({ start: 0, end: blob.size });
      opened.close();
      opened.close();
      await kit.expectBytes({ start: 0, end: 10 });
    });
  });
}

/** One harness with the blob it was made for. */
class Kit {
  readonly #harness: SourceHarness;
  readonly #blob: SampleBlob;

  constructor(harness: SourceHarness, blob: SampleBlob) {
    this.#harness = harness;
    this.#blob = blob;
  }

  async open(
    span: Span,
    blob: BlobAddress = this.#blob,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<OpenedRead | null> {
    const options: OpenOptions = {
      signal,
      urgency: new Urgency('demand'),
      upstream: this.#harness.upstream ?? nowhere,
    };
    return await this.#harness.source.open({ digest: blob.digest, size: blob.size }, span, options);
  }

  async mustOpen(span: Span, signal?: AbortSignal): Promise<OpenedRead> {
    const opened = await this.open(span, undefined, signal);
    assert.ok(opened !== null, `null for ${span.start}-${span.end}`);
    assert.ok(
      opened.span.start <= span.start && span.start < opened.span.end,
      'the asked start is not in it',
    );
    if (opened.verified !== undefined) this.#expectVerified(opened, opened.verified, span);
    return opened;
  }

  #expectVerified({ span }: OpenedRead, { index, bytes, sha256 }: VerifiedPiece, asked: Span): void {
    assert.equal(index, pieceAt(asked.start), 'another piece than was asked for');
    assert.deepEqual(span, pieceSpan(index, this.#blob.size), 'a verified piece is whole');
    assert.ok(bytes.equals(this.#blob.bytes.subarray(span.start, span.end)), `wrong bytes of piece ${index}`);
    assert.ok(
      createHash('sha256').update(bytes).digest().equals(sha256),
      'another digest than its bytes have',
    );
  }

  /** All bytes that an opened read delivers; they must be as many as it said. */
  async take(opened: OpenedRead): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const chunk of opened.chunks) {
      assert.ok(chunk.length > 0, 'an empty chunk');
      parts.push(await this.bytesOf(chunk));
    }
    const bytes = Buffer.concat(parts);
    assert.equal(bytes.length, opened.span.end - opened.span.start, 'another length than was said');
    return bytes;
  }

  async expectTaken(opened: OpenedRead, span: Span): Promise<void> {
    const bytes = await this.take(opened);
    const from = span.start - opened.span.start;
    const got = bytes.subarray(from, from + span.end - span.start);
    assert.ok(
      got.equals(this.#blob.bytes.subarray(span.start, span.end)),
      `wrong bytes of ${span.start}-${span.end}`,
    );
  }

  /** Reads exactly `span`, however many opens that takes. */
  async readAll(span: Span): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let at = span.start; at < span.end; ) {
      const opened = await this.mustOpen({ start: at, end: span.end });
      const bytes = await this.take(opened);
      const part = bytes.subarray(at - opened.span.start, span.end - opened.span.start);
      parts.push(part);
      at += part.length;
    }
    return Buffer.concat(parts);
  }

  async expectBytes(span: Span): Promise<void> {
    const got = await this.readAll(span);
    assert.ok(
      got.equals(this.#blob.bytes.subarray(span.start, span.end)),
      `wrong bytes of ${span.start}-${span.end}`,
    );
  }

  async bytesOf(chunk: Chunk): Promise<Buffer> {
    if (!isFileSlice(chunk)) return Buffer.from(chunk);
    try {
      const bytes = Buffer.alloc(chunk.length);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await readAsync(
          chunk.fd,
          bytes,
          done,
          bytes.length - done,
          chunk.offset + done,
        );
        assert.ok(bytesRead > 0, 'a slice reaches past its file');
        done += bytesRead;
      }
      return bytes;
    } finally {
      chunk.release();
    }
  }
}
