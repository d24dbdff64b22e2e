import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { TokenBucket } from '../../../peer/exchange/token-bucket.ts';
import { UploadQueue } from '../../../peer/exchange/upload-queue.ts';
import type { PeerId } from '../../../peer/member.ts';
import type { UrgencyLevel } from '../../../src/blob/urgency.ts';

const never = new AbortController().signal;

/** Asks for slots, and keeps who got one in which order. */
class Crowd {
  readonly order: string[] = [];
  readonly leave = new Map<string, () => void>();
  readonly #queue: UploadQueue;

  constructor(queue: UploadQueue) {
    this.#queue = queue;
  }

  ask(name: string, urgency: UrgencyLevel = 'demand', signal = never, waitMs = 60_000): void {
    // The letter is the peer, the digit one of its questions.
    const peer = name.slice(0, 1) as PeerId;
    void this.#queue.acquire({ peer, urgency, waitMs, signal }).then((leave) => {
      this.order.push(leave === 'busy' ? `-${name}` : name);
      if (leave !== 'busy') this.leave.set(name, leave);
    });
  }

  async end(name: string): Promise<void> {
    this.leave.get(name)?.();
    await settled();
  }
}

const settled = (): Promise<void> => new Promise((done) => setImmediate(done));

describe('upload slots', () => {
  it('go to whoever has fewest, then to whoever came first, prefetch last', async () => {
    const crowd = new Crowd(new UploadQueue({ slots: 2, maxQueued: 9 }));
    for (const name of ['a1', 'a2', 'a3', 'b1']) crowd.ask(name);
    crowd.ask('c1', 'prefetch');
    crowd.ask('a4');
    await settled();
    assert.deepEqual(crowd.order, ['a1', 'a2']);
    await crowd.end('a1');
    await crowd.end('a2');
    await crowd.end('b1');
    await crowd.end('a3');
    assert.deepEqual(crowd.order, ['a1', 'a2', 'b1', 'a3', 'a4', 'c1']);
    for (const name of ['a4', 'c1']) await crowd.end(name);
  });

  it('past the bound refuse the last of whoever waits most, a prefetch sooner', async () => {
    const crowd = new Crowd(new UploadQueue({ slots: 1, maxQueued: 3 }));
    crowd.ask('a0');
    crowd.ask('a1');
    crowd.ask('b1', 'prefetch');
    crowd.ask('a2');
    crowd.ask('c1');
    await settled();
    assert.deepEqual(crowd.order, ['a0', '-b1']);
    crowd.ask('d1');
    await settled();
    assert.deepEqual(crowd.order, ['a0', '-b1', '-a2']);
    for (const name of ['a0', 'a1', 'c1', 'd1']) await crowd.end(name);
  });

  it('are not waited for by whoever has left, or for longer than it said', async () => {
    const queue = new UploadQueue({ slots: 1, maxQueued: 9 });
    const crowd = new Crowd(queue);
    const leaving = new AbortController();
    crowd.ask('a1');
    crowd.ask('b1', 'demand', leaving.signal);
    crowd.ask('c1', 'demand', never, 0);
    crowd.ask('d1', 'demand', AbortSignal.abort());
    leaving.abort();
    await new Promise((done) => setTimeout(done, 5));
    assert.deepEqual(crowd.order.toSorted(), ['-b1', '-c1', '-d1', 'a1']);
    assert.deepEqual([queue.active, queue.queued], [1, 0]);
    await crowd.end('a1');
    await crowd.end('a1');
    assert.deepEqual([queue.active, queue.queued], [0, 0]);
  });

  it('are never more than there are, and everybody who waits is told, in any order of events', async () => {
    const event = fc.record({
      peer: fc.constantFrom(...'abcd'),
      isPrefetch: fc.boolean(),
      isEnd: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
        const queue = new UploadQueue({ slots: 3, maxQueued: 5 });
        const crowd = new Crowd(queue);
        const ends = async (): Promise<void> => {
          const [name] = crowd.leave.keys();
          if (name === undefined) return;
          await crowd.end(name);
          crowd.leave.delete(name);
        };
        let asked = 0;
        for (const { peer, isPrefetch, isEnd } of events) {
          if (isEnd) await ends();
          else crowd.ask(`${peer}${asked++}`, isPrefetch ? 'prefetch' : 'demand');
          await settled();
          assert.ok(queue.active <= 3 && queue.queued <= 5);
          assert.ok(queue.active === 3 || queue.queued === 0, 'no slot is free while somebody waits');
        }
        while (crowd.leave.size > 0) await ends();
        assert.equal(crowd.order.length, asked);
      }),
      { numRuns: 60 },
    );
  });
});

describe('a token bucket', () => {
  it('holds its rate over everybody, and lets a burst pass after a rest', () => {
    let nowMs = 0;
    const bucket = new TokenBucket(10_000_000, () => nowMs);
    const burst = 1_000_000;
    assert.equal(bucket.take(burst), 0);
    assert.equal(bucket.take(100_000), 10);
    assert.equal(bucket.take(100_000), 20, 'the second waits for the first');
    nowMs = 20;
    assert.equal(bucket.take(100_000), 10);
    nowMs = 10_000;
    assert.equal(bucket.take(burst), 0, 'rested');
    assert.equal(bucket.take(1), 1e-4, 'and no more than a burst was saved up');
  });

  it('without a limit never waits', () => {
    const bucket = new TokenBucket(Number.POSITIVE_INFINITY, () => 0);
    for (let i = 0; i < 10; i += 1) assert.equal(bucket.take(1e12), 0);
  });
});
