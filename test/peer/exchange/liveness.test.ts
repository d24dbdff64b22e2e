import assert from 'node:assert/strict';
import { describe, it, mock, type TestContext } from 'node:test';
import { Liveness, type LivenessParts } from '../../../peer/exchange/liveness.ts';

/** Looks every 500 ms. */
const LIMITS = { silenceMs: 2_000, pongMs: 1_000 };

function setUp(t: TestContext, change: Partial<LivenessParts> = {}) {
  mock.timers.enable({ apis: ['setTimeout'] });
  let nowMs = 0;
  const did: string[] = [];
  const liveness = new Liveness({
    limits: LIMITS,
    isAwaited: () => true,
    isReading: () => true,
    ping: () => did.push(`ping at ${nowMs}`),
    onSilent: () => {
      did.push(`silent at ${nowMs}`);
      liveness.stop();
    },
    now: () => nowMs,
    ...change,
  });
  t.after(() => {
    liveness.stop();
    mock.timers.reset();
  });
  return {
    liveness,
    did,
    /** In steps of 100 ms. */
    pass: (ms: number): void => {
      for (let end = nowMs + ms; nowMs < end; ) {
        nowMs += 100;
        mock.timers.tick(100);
      }
    },
    standStill: (ms: number): void => {
      nowMs += ms;
    },
  };
}

describe('Liveness', () => {
  it('pings one that has been quiet for half the silence, and gives it up without an answer', (t) => {
    const { liveness, did, pass } = setUp(t, { limits: { silenceMs: 1_000, pongMs: 1_000 } });
    liveness.watch();
    pass(3_000);
    assert.deepEqual(did, ['ping at 500', 'silent at 1500']);
  });

  it('leaves one alone that is heard', (t) => {
    const { liveness, did, pass } = setUp(t, { limits: { silenceMs: 1_000, pongMs: 1_000 } });
    liveness.watch();
    for (let n = 0; n < 20; n += 1) {
      pass(400);
      liveness.heard();
    }
    assert.ok(!did.some((what) => what.startsWith('silent')), String(did));
  });

  it('leaves one alone of which nothing is expected', (t) => {
    const { liveness, did, pass } = setUp(t, { isAwaited: () => false });
    liveness.watch();
    pass(10_000);
    assert.deepEqual(did, []);
  });

  it('does not hold against it that we do not read', (t) => {
    const { liveness, did, pass } = setUp(t, { isReading: () => false });
    liveness.ping();
    pass(10_000);
    assert.deepEqual(did, ['ping at 0']);
  });

  it('does not hold against it that we stood still', (t) => {
    const { liveness, did, pass, standStill } = setUp(t);
    liveness.ping();
    standStill(60_000);
    pass(500);
    assert.deepEqual(did, ['ping at 0'], 'its answer may not have been read yet');
    pass(1_000);
    assert.deepEqual(did, ['ping at 0', 'silent at 61500']);
  });

  it('an answer to a ping is a sign of life', (t) => {
    const { liveness, did, pass } = setUp(t, { isAwaited: () => false });
    liveness.ping();
    assert.equal(liveness.heardAtMs, 0);
    pass(100);
    liveness.heard();
    assert.equal(liveness.heardAtMs, 100);
    pass(10_000);
    assert.deepEqual(did, ['ping at 0']);
  });

  it('says nothing any more when the connection is gone', (t) => {
    const { liveness, did, pass } = setUp(t);
    liveness.watch();
    liveness.stop();
    liveness.ping();
    liveness.watch();
    pass(10_000);
    assert.deepEqual(did, []);
  });
});
