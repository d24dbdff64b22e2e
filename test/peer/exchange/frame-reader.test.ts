import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  FRAME,
  type FrameHead,
  frame,
  frameHead,
  HEAD_BYTES,
  MAX_CONTROL_BYTES,
  MAX_DATA_BYTES,
  MAX_HELLO_BYTES,
} from '../../../peer/exchange/frame.ts';
import { FrameReader, type FrameSink } from '../../../peer/exchange/frame-reader.ts';
import { hasCode } from '../../../src/errors.ts';

/** Keeps what it is given; data of odd tags is wanted by nobody. */
class Keeper implements FrameSink {
  readonly frames: { readonly type: number; readonly tag: number; readonly body: string }[] = [];
  readonly #targets = new Map<number, Buffer>();

  onFrame(head: FrameHead, body: Buffer): void {
    this.frames.push({ type: head.type, tag: head.tag, body: body.toString('hex') });
  }

  dataTarget(tag: number, bytes: number): Buffer | null {
    assert.ok(bytes > 0 && bytes <= MAX_DATA_BYTES);
    if (tag % 2 === 1) return null;
    const target = Buffer.alloc(bytes);
    this.#targets.set(tag, target);
    return target;
  }

  onData(tag: number, _bytes: number, isEnd: boolean): void {
    if (!isEnd) return;
    const body = this.#targets.get(tag)?.toString('hex') ?? '';
    this.frames.push({ type: FRAME.data, tag, body });
    this.#targets.delete(tag);
  }
}

function trusted(): { keeper: Keeper; reader: FrameReader } {
  const keeper = new Keeper();
  const reader = new FrameReader(keeper);
  reader.isTrusted = true;
  return { keeper, reader };
}

const one = fc.record({
  type: fc.constantFrom(FRAME.data, FRAME.plan, FRAME.pong, FRAME.knowledge),
  tag: fc.nat(1000),
  body: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  /** Some are long. */
  times: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat({ max: 400 }) }),
});

describe('a frame reader', () => {
  it('finds the frames however the bytes were cut, put in place or copied', () => {
    fc.assert(
      fc.property(
        fc.array(one, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        (frames, cuts, isInPlace) => {
          const said = frames.map(({ type, tag, body, times }) => ({
            type,
            tag,
            body: Buffer.concat(Array<Uint8Array>(Math.max(1, times)).fill(body)),
          }));
          const bytes = Buffer.concat(
            said.flatMap(({ type, tag, body }) => [frameHead(type, tag, body.length), body]),
          );
          const { keeper, reader } = trusted();
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const end = at + (cuts[turn % cuts.length] ?? 1);
            const part = bytes.subarray(at, end);
            if (isInPlace) place(reader, part);
            else reader.push(part);
            at = end;
          }
          assert.deepEqual(
            keeper.frames,
            said.map(({ type, tag, body }) => ({
              type,
              tag,
              body: type === FRAME.data && tag % 2 === 1 ? '' : body.toString('hex'),
            })),
          );
        },
      ),
      { numRuns: 150 },
    );
  });

  it('asks for the bytes of a piece right where they belong', () => {
    const body = Buffer.alloc(MAX_DATA_BYTES, 5);
    let target: Buffer | undefined;
    const reader = new FrameReader({
      onFrame: () => assert.fail(),
      dataTarget: (_tag, bytes) => (target = Buffer.alloc(bytes)),
      onData: () => undefined,
    });
    reader.isTrusted = true;
    place(reader, frameHead(FRAME.data, 2, body.length));
    assert.equal(reader.isWriting(2), true);
    assert.equal(reader.isWriting(4), false);
    assert.equal(reader.target().buffer, target?.buffer);
    place(reader, body);
    assert.ok(target?.equals(body));
    assert.equal(reader.isWriting(2), false);
  });

  it('lets nothing but a short hello through before the other side is trusted', () => {
    const refused = (bytes: Buffer): void => {
      const reader = new FrameReader(new Keeper());
      assert.throws(
        () => reader.push(bytes),
        (error) => hasCode(error, 'peer-broken'),
      );
    };
    refused(frame(FRAME.ping, 0));
    refused(frameHead(FRAME.data, 0, 10));
    refused(frameHead(FRAME.hello, 0, MAX_HELLO_BYTES + 1));
    refused(Buffer.from('GET / HTTP/1.1\r\nHost: peer\r\n\r\n'));
    const keeper = new Keeper();
    new FrameReader(keeper).push(frame(FRAME.hello, 0, Buffer.of(1)));
    assert.equal(keeper.frames.length, 1);
  });

  it('refuses lengths that no frame has before it makes room for them', () => {
    const length = (bytes: number, type: number): Buffer => {
      const head = Buffer.alloc(HEAD_BYTES);
      head.writeUInt32BE(bytes, 0);
      head.writeUInt8(type, 4);
      return head;
    };
    for (const head of [
      length(0, FRAME.plan),
      length(4, FRAME.plan),
      length(0xffff_ffff, FRAME.plan),
      length(MAX_CONTROL_BYTES + 6, FRAME.plan),
      length(MAX_DATA_BYTES + 6, FRAME.data),
      length(5, FRAME.data),
    ]) {
      const { reader } = trusted();
      assert.throws(
        () => reader.push(head),
        (error) => hasCode(error, 'peer-broken'),
      );
    }
  });

  it('of any bytes at all throws peer-broken or nothing, and holds a bounded number of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 30 }),
        fc.boolean(),
        (parts, isTrusted) => {
          const reader = new FrameReader(new Keeper());
          reader.isTrusted = isTrusted;
          try {
            for (const part of parts) {
              reader.push(part);
              assert.ok(reader.target().buffer.byteLength <= MAX_DATA_BYTES);
            }
          } catch (error) {
            assert.ok(hasCode(error, 'peer-broken'), String(error));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** As a socket does: right where the reader says. */
function place(reader: FrameReader, bytes: Buffer): void {
  let at = 0;
  while (at < bytes.length) {
    const copied = bytes.copy(reader.target(), 0, at);
    at += copied;
    reader.advance(copied);
  }
}
