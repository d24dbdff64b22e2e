import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Member, PeerId } from '../../../peer/member.ts';
import { Figures, type FiguresParts } from '../../../peer/swarm/figures.ts';

const member = (id: string, zone = 'z'): Member => ({
  id: id as PeerId,
  data: [
    { host: '10.0.0.1', port: 4005 },
    { host: 'fd00::1', port: 4005 },
  ],
  control: [],
  zone,
  epoch: 3,
});
const SELF = member('self');

function figures(others: readonly Member[]): Figures {
  const view: FiguresParts['view'] = {
    self: SELF,
    live: () => [SELF, ...others],
    find: () => undefined,
    suspect: () => undefined,
    isSuspect: (id) => id.startsWith('suspect'),
    onChange: () => () => undefined,
  };
  return new Figures({
    view,
    exchange: { connected: () => ['live' as PeerId], load: () => ({ uploads: { active: 1, queued: 2 } }) },
    standing: { isQuarantined: (id) => id.endsWith('out'), score: () => 0.5 },
    hunt: {
      scores: { measuredRoundTripMs: (id: PeerId) => (id === 'live' ? 12 : undefined) },
      size: { reading: 3 },
    },
    desk: { size: { segments: 4, asks: 5, leases: 6 } },
    transfers: { bytesOf: () => ({ from: 7, to: 8 }), running: () => [] },
    listen: { data: ['10.0.0.1:4005'], control: [] },
    connections: () => ({ tls: 9, libp2p: 10 }),
  });
}

test('status: members but this node, live ones first, each with what is known of it', () => {
  const status = figures([member('out'), member('suspect'), member('live', 'y')]).status();
  assert.deepEqual(
    status.members.map(({ id, state }) => [id, state]),
    [
      ['live', 'live'],
      ['suspect', 'suspect'],
      ['out', 'quarantined'],
    ],
  );
  assert.deepEqual(status.members[0], {
    ...{ id: 'live', zone: 'y', state: 'live', connected: true, rttMs: 12, score: 0.5 },
    addresses: ['10.0.0.1:4005', '[fd00::1]:4005'],
    ...{ receivedBytes: 7, sentBytes: 8 },
  });
  assert.equal(status.members[1]?.rttMs, null);
  assert.equal(status.members[1]?.connected, false);
  assert.deepEqual(status.planning, { segments: 4, waiting: 5, leases: 6 });
  assert.equal(status.epoch, 3);
});

test('status shows 256 members, and counts all', () => {
  const status = figures(Array.from({ length: 300 }, (_, n) => member(`live ${n}`))).status();
  assert.equal(status.members.length, 256);
  assert.equal(status.memberCount, 300);
  assert.equal(status.totals.live, 300);
});

test('gauges: who is out is not suspect as well', () => {
  const gauges = figures([
    member('live'),
    member('suspect'),
    member('suspect and out'),
    member('out'),
  ]).gauges();
  assert.deepEqual(gauges, {
    members: { live: 1, suspect: 1, quarantined: 2 },
    tableSize: 5,
    connections: { tls: 9, libp2p: 10 },
    uploads: { active: 1, queued: 2 },
    planner: { segments: 4, waiting: 5, leases: 6 },
    heldLeases: 3,
  });
});
