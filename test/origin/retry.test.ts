import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Urgency, type UrgencyLevel } from '../../src/blob/urgency.ts';
import { hasCode } from '../../src/errors.ts';
import { ExchangeFailure } from '../../src/origin/exchange.ts';
import { emptyBody, Reply } from '../../src/origin/reply.ts';
import { backoffMs, DEFAULT_RETRY, pause, retryAfterMs, withRetries } from '../../src/origin/retry.ts';
import { NEVER } from './support.ts';

type Outcome = number | ExchangeFailure | readonly [number, string];

/** Runs the outcomes one after the other; @returns the status or error, the waits and the reasons. */
async function run(outcomes: readonly Outcome[], level: UrgencyLevel = 'demand', statuses = true) {
  const waits: number[] = [];
  const reasons: string[] = [];
  let attempts = 0;
  const result = await withRetries(
    async () => {
      const outcome = outcomes[attempts++] ?? 200;
      if (outcome instanceof ExchangeFailure) throw outcome;
      const [status, retryAfter] = typeof outcome === 'number' ? [outcome] : outcome;
      return new Reply(status, retryAfter === undefined ? [] : ['Retry-After', retryAfter], emptyBody());
    },
    {
      policy: { ...DEFAULT_RETRY, random: () => 0, sleep: async (ms) => void waits.push(ms) },
      urgency: new Urgency(level),
      statuses,
      signal: NEVER,
      onRetry: (reason) => reasons.push(reason),
    },
  ).then(
    (reply) => reply.status,
    (error) => error as Error,
  );
  return { result, waits, reasons, attempts };
}

const refusedConnection = new ExchangeFailure('connect', new Error('refused'));

test('failed connections and 5xx are tried again with growing waits, three attempts in all', async () => {
  assert.deepEqual(await run([refusedConnection, 502]), {
    result: 200,
    waits: [50, 100],
    reasons: ['connect', 'status'],
    attempts: 3,
  });
  assert.deepEqual((await run([500, 500, 500])).result, 500);
  assert.equal(
    (await run([refusedConnection, refusedConnection, refusedConnection])).result,
    refusedConnection,
  );
});

test('4xx, 501 and a head that came too late are final', async () => {
  for (const status of [400, 401, 403, 404, 416, 429, 501, 505]) {
    assert.deepEqual(await run([status]), { result: status, waits: [], reasons: [], attempts: 1 });
  }
  const late = new ExchangeFailure('timeout', undefined);
  assert.deepEqual(await run([late]), { result: late, waits: [], reasons: [], attempts: 1 });
});

test('what is not ours to judge is tried again on a failed connection only', async () => {
  assert.equal((await run([503], 'demand', false)).result, 503);
  assert.deepEqual((await run([refusedConnection, 503], 'demand', false)).reasons, ['connect']);
});

test('Retry-After is waited for within its bound', async () => {
  assert.deepEqual((await run([[503, '1']])).waits, [1_000]);
  assert.deepEqual(await run([[503, '2']]), { result: 503, waits: [], reasons: [], attempts: 1 });
  assert.deepEqual((await run([[503, '20']], 'prefetch')).waits, [20_000]);
  assert.deepEqual((await run([[429, '20']], 'prefetch')).waits, [20_000]);
  assert.equal((await run([[429, '0']])).result, 429, "an on-demand reader's own 429 is its answer at once");
});

test('a prefetch that the origin wants to be rid of is busy, not failed', async () => {
  for (const outcomes of [[[429, '60']], [[503, '60']], [429, 429, 429]] as const) {
    const { result } = await run(outcomes, 'prefetch');
    assert.ok(hasCode(result, 'origin-busy'), JSON.stringify(outcomes));
  }
});

test('Retry-After is seconds or a date', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  assert.equal(retryAfterMs('7', now), 7_000);
  assert.equal(retryAfterMs('Thu, 01 Jan 2026 00:00:09 GMT', now), 9_000);
  assert.equal(retryAfterMs('Wed, 31 Dec 2025 00:00:00 GMT', now), 0);
  for (const value of [undefined, '', 'soon', '-']) assert.equal(retryAfterMs(value, now), undefined);
});

test('waits are jittered between half and whole', () => {
  assert.equal(backoffMs({ baseDelayMs: 100, random: () => 0 }, 1), 50);
  assert.ok(backoffMs({ baseDelayMs: 100, random: () => 0.999 }, 1) < 100);
  assert.equal(backoffMs({ baseDelayMs: 100, random: () => 0 }, 3), 200);
});

test('an abort ends a wait with its own reason', async () => {
  const abort = new AbortController();
  const reason = new Error('gone');
  const waiting = pause(DEFAULT_RETRY, 60_000, abort.signal);
  abort.abort(reason);
  await assert.rejects(waiting, reason);
});
