import { setTimeout as sleep } from 'node:timers/promises';
import type { Urgency } from '../blob/urgency.ts';
import { DamselflyError } from '../errors.ts';
import { ExchangeFailure } from './exchange.ts';
import { discard, type Reply } from './reply.ts';

export interface RetryPolicy {
  /** Attempts in all. */
  readonly attempts: number;
  /** The first wait is between half of this and this; each further one twice as long. */
  readonly baseDelayMs: number;
  /** A Retry-After up to this is waited for on an on-demand read; clients wait only seconds for a head. */
  readonly maxDemandWaitMs: number;
  /** The same for a prefetch, which nobody waits for. */
  readonly maxPrefetchWaitMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 3,
  baseDelayMs: 100,
  maxDemandWaitMs: 1_000,
  maxPrefetchWaitMs: 30_000,
  random: Math.random,
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, { signal });
  },
};

export type RetryReason = 'connect' | 'status' | 'body';

/** The wait before attempt number `attempt` (the second is 1), jittered so that nodes that failed together part. */
export function backoffMs(policy: Pick<RetryPolicy, 'baseDelayMs' | 'random'>, attempt: number): number {
  return policy.baseDelayMs * 2 ** (attempt - 1) * (0.5 + policy.random() / 2);
}

/** Retry-After in milliseconds, from its seconds or its date (RFC 9110 §10.2.3); undefined when absent or senseless. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1_000;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}

/**
 * Tries an idempotent request again after a failed connection or a 5xx, within the policy and the caller's signal.
 * A 429 is an on-demand reader's own answer and comes back to it; a prefetch waits for it like for a 503.
 * @returns the first good reply, any 4xx, or the last 5xx.
 * @throws DamselflyError `origin-busy` when the origin asks to be left alone for longer than may be waited.
 */
export async function withRetries(
  attempt: () => Promise<Reply>,
  options: {
    readonly policy: RetryPolicy;
    readonly urgency: Urgency;
    /** False: any reply is good, only connections are tried again. */
    readonly statuses: boolean;
    readonly signal: AbortSignal;
    readonly onRetry: (reason: RetryReason) => void;
  },
): Promise<Reply> {
  const { policy, urgency, signal } = options;
  for (let number = 1; ; number++) {
    let waitMs = backoffMs(policy, number);
    let reason: RetryReason;
    try {
      const reply = await attempt();
      if (!options.statuses) return reply;
      const background = urgency.level === 'prefetch';
      const busy = reply.status === 503 || (background && reply.status === 429);
      if (!busy && !isRetriable(reply.status)) return reply;
      const askedMs = busy ? retryAfterMs(reply.header('retry-after'), Date.now()) : undefined;
      const boundMs = background ? policy.maxPrefetchWaitMs : policy.maxDemandWaitMs;
      const tooLong = askedMs !== undefined && askedMs > boundMs;
      const last = number >= policy.attempts || tooLong;
      if (last && !(busy && background)) return reply;
      discard(reply.body);
      if (last) throw leftAlone(reply.status);
      waitMs = Math.max(waitMs, askedMs ?? 0);
      reason = 'status';
    } catch (error) {
      if (!(error instanceof ExchangeFailure) || error.kind === 'timeout' || number >= policy.attempts)
        throw error;
      reason = 'connect';
    }
    options.onRetry(reason);
    await pause(policy, waitMs, signal);
  }
}

/** 501 and 505 speak of the request; repeating it changes nothing. */
function isRetriable(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504;
}

/** @throws the signal's reason, not the timer's own error. */
export async function pause(policy: RetryPolicy, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await policy.sleep(ms, signal);
  } finally {
    signal.throwIfAborted();
  }
}

function leftAlone(status: number): DamselflyError {
  return new DamselflyError('origin-busy', `The origin answered ${status}: it asked to be left alone`, {
    facts: { originStatus: status },
  });
}
