import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Stream } from '@libp2p/interface';
import fc from 'fast-check';
import { Frames } from '../../../peer/membership/frames.ts';

/** As much of a libp2p stream as frames use. */
class FakeStream extends EventTarget {
  writeStatus = 'writable';
  writeBufferLength = 0;
  readonly sent: Uint8Array[] = [];
  isClosed = false;
  aborted: Error | undefined;

  send(bytes: Uint8Array): boolean {
    this.sent.push(bytes);
    return true;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  abort(error: Error): void {
    this.aborted = error;
  }

  arrive(data: Uint8Array): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data }));
  }
}

function open() {
  const stream = new FakeStream();
  const got: Buffer[] = [];
  const ends: (Error | undefined)[] = [];
  const frames = new Frames(stream as unknown as Stream, {
    onFrame: (bytes) => {
      if (bytes[0] === 0xee) throw new Error('not understood');
      got.push(Buffer.from(bytes));
    },
    onEnd: (error) => void ends.push(error),
  });
  return { stream, frames, got, ends };
}

function framed(...bodies: readonly Uint8Array[]): Buffer {
  const out = open();
  for (const body of bodies) out.frames.send(body);
  return Buffer.concat(out.stream.sent);
}

describe('Frames', () => {
  it('come out whole and in order, however the bytes were cut', async () => {
    const bodies = fc.array(
      fc.uint8Array({ maxLength: 40 }).filter((body) => body[0] !== 0xee),
      { maxLength: 8 },
    );
    const cuts = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(bodies, cuts, fc.boolean(), async (sent, sizes, isLong) => {
        const all = isLong ? [...sent, Buffer.alloc(20_000, 1), ...sent] : sent;
        const bytes = framed(...all);
        const { stream, got } = open();
        for (let at = 0, i = 0; at < bytes.length; i += 1) {
          const size = (sizes[i % sizes.length] ?? 1) * (isLong ? 97 : 1);
          stream.arrive(bytes.subarray(at, at + size));
          at += size;
        }
        await nextTurn();
        await nextTurn();
        assert.deepEqual(
          got,
          all.map((body) => Buffer.from(body)),
        );
      }),
      { numRuns: 60 },
    );
  });

  it('let others have a turn after a long one, and are all read before the end counts', async () => {
    const { stream, got, ends } = open();
    const long = Buffer.alloc(10_000, 1);
    stream.arrive(framed(long, long, Buffer.from('bye')));
    stream.dispatchEvent(new Event('remoteCloseWrite'));
    assert.equal(got.length, 1);
    assert.deepEqual(ends, []);
    await nextTurn();
    await nextTurn();
    assert.equal(got.length, 3);
    assert.deepEqual(ends, [undefined]);
    assert.equal(stream.isClosed, true);
  });

  it('end the stream when one claims too much or is not understood', () => {
    for (const bytes of [Buffer.from('00100001', 'hex'), framed(Buffer.from([0xee]), Buffer.from([1]))]) {
      const { stream, got, ends } = open();
      stream.arrive(bytes);
      assert.ok(stream.aborted !== undefined);
      assert.deepEqual(ends, [stream.aborted]);
      assert.deepEqual(got, []);
      stream.arrive(framed(Buffer.from([1])));
      assert.deepEqual(got, []);
    }
  });

  it('let somebody go who does not read', () => {
    const { stream, frames, ends } = open();
    stream.writeBufferLength = 5 * 2 ** 20;
    frames.send(Buffer.from([1]));
    assert.match(stream.aborted?.message ?? '', /does not read/);
    assert.equal(ends.length, 1);
    frames.send(Buffer.from([1]));
    assert.equal(stream.sent.length, 1);
  });
});
