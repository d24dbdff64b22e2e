import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReadId } from '../../../peer/hunt/actions.ts';
import { realmOf } from '../../../peer/realm.ts';
import { Arrivals } from '../../../peer/swarm/arrivals.ts';
import type { Hunter } from '../../../peer/swarm/hunter.ts';
import { SwarmSource } from '../../../peer/swarm/swarm-source.ts';
import type { Digest } from '../../../src/blob/digest.ts';
import type { OpenOptions, PieceSource } from '../../../src/blob/source.ts';
import { Urgency } from '../../../src/blob/urgency.ts';
import { eventually } from '../../support/eventually.ts';
import { UPSTREAM } from '../../support/peer/memory-swarm.ts';

const BLOB = { digest: `sha256:${'5'.repeat(64)}` as Digest, size: 1_000 };

test('a piece of which the store says nothing is given up in time, and takes nothing else with it', async () => {
  const origin: PieceSource = {
    name: 'origin',
    open: async (_blob, span) => ({
      info: { size: BLOB.size, mediaType: undefined },
      span,
      chunks: (async function* () {
        yield Buffer.alloc(BLOB.size);
      })(),
      close: () => undefined,
    }),
  };
  const ended: string[] = [];
  const hunter = {
    acquire: async () => ({ kind: 'read', read: 1 as ReadId, reason: 'leased', ticket: undefined }),
    readBegins: () => undefined,
    readEnds: () => undefined,
    release: () => ended.push('released'),
    hunt: { readProgress: () => undefined, readEnded: (_read: ReadId, how: string) => ended.push(how) },
  } as unknown as Hunter;
  const arrivals = new Arrivals();
  const source = new SwarmSource({
    origin,
    hunter,
    arrivals,
    realmOf: () => realmOf(UPSTREAM.origin),
    hasPeers: () => 'now',
    readAlone: () => undefined,
    hedged: () => undefined,
    isSuspect: () => false,
    clock: () => performance.now(),
    settleMs: 20,
  });
  const options: OpenOptions = {
    signal: new AbortController().signal,
    urgency: new Urgency('demand'),
    upstream: UPSTREAM,
  };
  const read = await source.open(BLOB, { start: 0, end: BLOB.size }, options);
  for await (const chunk of read.chunks) assert.equal(chunk.length, BLOB.size);
  assert.ok(arrivals.isExpected(BLOB.digest, 0));
  // Nobody calls `settled`: the lease ends by itself, once, and whoever waits for the piece is told.
  await eventually(() => ended.length > 0);
  assert.deepEqual(ended, ['failed', 'released']);
  assert.ok(!arrivals.isExpected(BLOB.digest, 0));
  assert.equal(source.settled(BLOB, 0, 'stored'), false);
  assert.deepEqual(ended, ['failed', 'released']);
});
