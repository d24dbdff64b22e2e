import type { FailedEvent } from '../../admin/cache-events.ts';
import type { CacheKeeper } from '../../admin/cache-routes.ts';
import { DamselflyError, hasCode } from '../../errors.ts';
import { adminClient } from '../admin-client.ts';
import { type FoundNode, findNode, type NodeFlags } from '../node-address.ts';
import { openCache } from './offline.ts';

export interface CacheFlags extends NodeFlags {
  readonly json?: boolean;
}

export interface CacheJob<Event> {
  /** Under `/api/v1/cache/`. */
  readonly route: 'verify' | 'gc' | 'rm';
  readonly body: object;
  /** The same on a directory that no node uses. */
  offline(keeper: CacheKeeper, signal: AbortSignal): AsyncGenerator<Event>;
}

/** Who did it, told once and before the events. */
export interface Through {
  readonly through: 'node' | 'directory';
  /** What opening the directory found and mended. */
  readonly notes: readonly string[];
}

/**
 * Has the running node do a job, or does it here when none runs: then the store's lock keeps a node, or another of these
 * commands, from using the directory meanwhile.
 * @returns the events; none of them is `failed`.
 * @throws DamselflyError, also for a job that failed; the signal's reason.
 */
export async function* cacheEvents<Event extends { readonly event: string }>(
  flags: CacheFlags,
  job: CacheJob<Event | FailedEvent>,
  signal: AbortSignal,
  begun: (through: Through) => void,
): AsyncGenerator<Exclude<Event, FailedEvent>> {
  const node = findNode(flags);
  let isBegun = false;
  try {
    for await (const event of nodeEvents<Event | FailedEvent>(node, job, signal)) {
      if (!isBegun) begun({ through: 'node', notes: [] });
      isBegun = true;
      yield checked<Event>(event);
    }
    if (isBegun) return;
    throw new DamselflyError(
      'node-unreachable',
      'the node ended the answer before the work was through; was it stopped? Run the same command again',
    );
  } catch (error) {
    // Who names a node means that one.
    if (isBegun || flags.admin !== undefined || !hasCode(error, 'node-unreachable')) throw error;
  }
  const cache = await openCache(node);
  try {
    begun({ through: 'directory', notes: cache.notes });
    for await (const event of job.offline(cache.keeper, signal)) yield checked<Event>(event);
  } finally {
    await cache.close();
  }
}

async function* nodeEvents<Event>(
  node: FoundNode,
  { route, body }: CacheJob<Event>,
  signal: AbortSignal,
): AsyncGenerator<Event> {
  const client = adminClient(node);
  try {
    yield* client.postLines(`/api/v1/cache/${route}`, body, signal) as AsyncGenerator<Event>;
  } finally {
    await client.close();
  }
}

function checked<Event extends { readonly event: string }>(
  event: Event | FailedEvent,
): Exclude<Event, FailedEvent> {
  if (event.event !== 'failed') return event as Exclude<Event, FailedEvent>;
  const { code, message } = event as FailedEvent;
  throw new DamselflyError(code, message);
}

/** The last event of a job. @throws DamselflyError when there was none: the node was stopped. */
export function lastOf<T>(event: T | undefined): T {
  if (event !== undefined) return event;
  throw new DamselflyError(
    'node-unreachable',
    'the node ended the answer before the work was through; was it stopped? Run the same command again',
  );
}
