import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FetchId } from '../../../peer/hunt/actions.ts';
import type { PeerId } from '../../../peer/member.ts';
import { FetchesUnderway } from '../../../peer/swarm/fetches-underway.ts';

const [A, B] = ['a', 'b'] as [PeerId, PeerId];
const ids = [1, 2, 3] as unknown as [FetchId, FetchId, FetchId];

test('a second fetch of a piece is a hedge, as long as the first is under way', () => {
  const fetches = new FetchesUnderway();
  const first = fetches.begin(ids[0], 'piece', A);
  const second = fetches.begin(ids[1], 'piece', B);
  assert.equal(first.isHedge, false);
  assert.equal(second.isHedge, true);
  assert.equal(fetches.begin(ids[2], 'another', A).isHedge, false);
  first.end();
  first.end();
  assert.equal(fetches.begin(ids[0], 'piece', A).isHedge, true, 'the second one is');
  second.end();
});

test('who is asked for a piece, until that fetch has ended', () => {
  const fetches = new FetchesUnderway();
  const { end } = fetches.begin(ids[0], 'piece', A);
  assert.equal(fetches.has('piece', A), true);
  assert.equal(fetches.has('piece', B), false);
  assert.equal(fetches.has('another', A), false);
  end();
  assert.equal(fetches.has('piece', A), false);
});
