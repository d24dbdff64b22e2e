import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Backlog } from '../../src/content/backlog.ts';
import { settle } from './fakes.ts';

const NEVER = new AbortController().signal;

/** Begins so many entries. @returns how many were let in so far. */
function enter(backlog: Backlog, count: number, isAwaited: () => boolean, signal = NEVER): () => number {
  let entered = 0;
  for (let n = 0; n < count; n += 1) {
    backlog.enter(isAwaited, signal).then(
      () => {
        entered += 1;
      },
      () => undefined,
    );
  }
  return () => entered;
}

describe('Backlog', () => {
  it('lets in 8 pieces that nobody waits for, then 8 more that somebody does', async () => {
    const backlog = new Backlog();
    const ahead = enter(backlog, 40, () => false);
    await settle(2);
    assert.equal(ahead(), 8);
    const awaited = enter(backlog, 40, () => true);
    await settle(2);
    assert.deepEqual([ahead(), awaited(), backlog.unsettled], [8, 8, 16]);
    for (let n = 0; n < 9; n += 1) backlog.settled();
    await settle(2);
    assert.deepEqual([ahead(), awaited(), backlog.unsettled], [8, 17, 16]);
  });

  it('lets one in that a reader has come to meanwhile', async () => {
    const backlog = new Backlog();
    enter(backlog, 8, () => false);
    let isAwaited = false;
    const late = enter(backlog, 1, () => isAwaited);
    backlog.stir();
    await settle(2);
    assert.equal(late(), 0);
    isAwaited = true;
    backlog.stir();
    await settle(2);
    assert.equal(late(), 1);
  });

  it('never lets streams overrun, though they are not held up here', async () => {
    const backlog = new Backlog();
    for (let n = 0; n < 50; n += 1) backlog.add();
    const awaited = enter(backlog, 1, () => true);
    await settle(2);
    assert.equal(awaited(), 0);
    for (let n = 0; n < 35; n += 1) backlog.settled();
    await settle(2);
    assert.equal(awaited(), 1);
  });

  it('counts right whatever leaves, and when', async () => {
    const step = fc.constantFrom('enter', 'enter awaited', 'settle', 'abort', 'turn');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 150 }), async (steps) => {
        const backlog = new Backlog();
        const aborts: AbortController[] = [];
        let inside = 0;
        const leave = (): void => {
          inside -= 1;
          backlog.settled();
        };
        for (const one of steps) {
          if (one.startsWith('enter')) {
            const abort = new AbortController();
            aborts.push(abort);
            backlog
              .enter(() => one === 'enter awaited', abort.signal)
              .then(
                () => {
                  inside += 1;
                },
                () => undefined,
              );
          } else if (one === 'settle' && inside > 0) leave();
          else if (one === 'abort') aborts.splice(Math.floor(aborts.length / 2), 1)[0]?.abort();
          else if (one === 'turn') await settle(1);
          assert.ok(backlog.unsettled <= 16);
        }
        for (const abort of aborts) abort.abort();
        await settle(1);
        while (inside > 0) leave();
        await settle(1);
        assert.equal(backlog.unsettled, 0);
      }),
      { numRuns: 60 },
    );
  });
});
