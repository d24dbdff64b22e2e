import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Urgency, type UrgencyLevel } from '../../src/blob/urgency.ts';
import { hasCode } from '../../src/errors.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { Limiter, type Release } from '../../src/origin/limiter.ts';
import { Limiters } from '../../src/origin/limiters.ts';
import { NEVER } from './support.ts';

/** Asks for a slot and notes when it is granted. */
function asker(limiter: Limiter) {
  const granted: string[] = [];
  const releases = new Map<string, Release>();
  const ask = (name: string, level: UrgencyLevel, signal = NEVER) => {
    const urgency = new Urgency(level);
    const done = limiter.acquire(urgency, signal).then((release) => {
      granted.push(name);
      releases.set(name, release);
    });
    return { urgency, done };
  };
  const release = (name: string): void => releases.get(name)?.();
  return { ask, granted, release };
}

/** Lets every promise that can settle do so. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('slots are bounded and given in order', async () => {
  const limiter = new Limiter({ slots: 2, maxQueued: 10 });
  const { ask, granted, release } = asker(limiter);
  for (const name of ['a', 'b', 'c', 'd']) void ask(name, 'demand').done;
  await settled();
  assert.deepEqual(granted, ['a', 'b']);
  assert.deepEqual([limiter.running, limiter.queued], [2, 2]);
  release('a');
  release('a');
  await settled();
  assert.deepEqual(granted, ['a', 'b', 'c']);
  release('b');
  release('c');
  await settled();
  release('d');
  assert.ok(limiter.isIdle);
});

test('prefetch takes half of the slots, and demand goes before it', async () => {
  const limiter = new Limiter({ slots: 4, maxQueued: 10 });
  const { ask, granted, release } = asker(limiter);
  for (const name of ['p1', 'p2', 'p3']) void ask(name, 'prefetch').done;
  for (const name of ['d1', 'd2', 'd3']) void ask(name, 'demand').done;
  await settled();
  assert.deepEqual(granted, ['p1', 'p2', 'd1', 'd2']);
  release('p1');
  await settled();
  assert.deepEqual(granted.slice(4), ['d3'], 'demand before the prefetch that waited longer');
  release('d1');
  await settled();
  assert.deepEqual(granted.slice(5), ['p3']);
});

test('with one slot a prefetch may still go', async () => {
  const { ask, granted } = asker(new Limiter({ slots: 1, maxQueued: 1 }));
  await ask('p', 'prefetch').done;
  assert.deepEqual(granted, ['p']);
});

test('raising a queued prefetch moves it before prefetch, raising a running one frees its share', async () => {
  const limiter = new Limiter({ slots: 4, maxQueued: 10 });
  const { ask, granted } = asker(limiter);
  const first = ask('p1', 'prefetch');
  void ask('p2', 'prefetch').done;
  void ask('p3', 'prefetch').done;
  const last = ask('p4', 'prefetch');
  await settled();
  assert.deepEqual(granted, ['p1', 'p2']);
  last.urgency.raise();
  await settled();
  assert.deepEqual(granted, ['p1', 'p2', 'p4'], 'as demand it takes a slot that prefetch may not');
  first.urgency.raise();
  await settled();
  assert.deepEqual(granted, ['p1', 'p2', 'p4', 'p3']);
});

test('a raise right after the grant keeps the accounts right', async () => {
  const limiter = new Limiter({ slots: 2, maxQueued: 10 });
  const holding = await limiter.acquire(new Urgency('prefetch'), NEVER);
  const urgency = new Urgency('prefetch');
  const waiting = limiter.acquire(urgency, NEVER);
  holding();
  urgency.raise();
  (await waiting)();
  // A share that leaked would keep this one waiting for ever.
  (await limiter.acquire(new Urgency('prefetch'), NEVER))();
  assert.ok(limiter.isIdle);
});

test('a full queue refuses, but drops its youngest prefetch for a demand', async () => {
  const limiter = new Limiter({ slots: 1, maxQueued: 2 });
  const { ask, granted, release } = asker(limiter);
  await ask('running', 'demand').done;
  const old = ask('p-old', 'prefetch');
  const young = ask('p-young', 'prefetch');
  const refused = assert.rejects(
    young.done,
    (error) => hasCode(error, 'origin-busy') && error.status === 503,
  );
  await assert.rejects(ask('p-more', 'prefetch').done, (error) => hasCode(error, 'origin-busy'));
  void ask('d1', 'demand').done;
  await refused;
  const displaced = assert.rejects(old.done, (error) => hasCode(error, 'origin-busy'));
  void ask('d2', 'demand').done;
  await displaced;
  await assert.rejects(ask('d3', 'demand').done, (error) => hasCode(error, 'origin-busy'));
  for (const name of ['running', 'd1', 'd2']) {
    release(name);
    await settled();
  }
  assert.deepEqual(granted, ['running', 'd1', 'd2']);
  assert.ok(limiter.isIdle);
});

test('an abort leaves the queue with the reason of its signal', async () => {
  const limiter = new Limiter({ slots: 1, maxQueued: 2 });
  const held = await limiter.acquire(new Urgency('demand'), NEVER);
  const abort = new AbortController();
  const waiting = limiter.acquire(new Urgency('demand'), abort.signal);
  const reason = new Error('gone');
  abort.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(limiter.acquire(new Urgency('demand'), abort.signal), reason);
  assert.equal(limiter.queued, 0);
  held();
  assert.ok(limiter.isIdle);
});

test('bounds hold and nothing is lost whatever is asked, raised, aborted and released', async () => {
  const step = fc.oneof(
    fc.constantFrom({ kind: 'demand' as const, at: 0 }, { kind: 'prefetch' as const, at: 0 }),
    fc.record({
      kind: fc.constantFrom('raise' as const, 'release' as const, 'abort' as const),
      at: fc.nat(30),
    }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, slots) => {
        const limiter = new Limiter({ slots, maxQueued: 6 });
        const asked: { urgency: Urgency; abort: AbortController; release?: Release }[] = [];
        for (const { kind, at } of steps) {
          if (kind === 'demand' || kind === 'prefetch') {
            const one: (typeof asked)[number] = { urgency: new Urgency(kind), abort: new AbortController() };
            asked.push(one);
            limiter.acquire(one.urgency, one.abort.signal).then(
              (release) => {
                one.release = release;
              },
              () => undefined,
            );
          } else {
            const one = asked[at];
            if (kind === 'raise') one?.urgency.raise();
            else if (kind === 'abort') one?.abort.abort();
            else one?.release?.();
          }
          assert.ok(limiter.running <= slots && limiter.queued <= 6);
        }
        for (let turn = 0; turn < asked.length + 1; turn++) {
          await settled();
          for (const one of asked) one.release?.();
        }
        assert.ok(limiter.isIdle);
      },
    ),
    { numRuns: 100 },
  );
});

test('origins have their own slots, and the queue shows in the metrics', async () => {
  const metrics = new Metrics();
  const limiters = new Limiters({ slots: 1, maxQueued: 1 }, metrics);
  const queued = async () => (await metrics.originQueued.get()).values[0]?.value;
  const a = await limiters.acquire('a', new Urgency('demand'), NEVER);
  const b = await limiters.acquire('b', new Urgency('demand'), NEVER);
  const waiting = limiters.acquire('a', new Urgency('demand'), NEVER);
  assert.equal(await queued(), 1);
  a();
  (await waiting)();
  b();
  assert.equal(await queued(), 0);
});
