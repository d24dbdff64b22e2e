import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../peer/member.ts';
import type { MemberStatus, SwarmStatus } from '../../peer/status.ts';
import { totalsOf } from '../../peer/status-totals.ts';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import type { Found } from '../../src/doctor/check.ts';
import { checkPeers, type PeersWorld } from '../../src/doctor/checks/peers.ts';
import type { RunningNode } from '../../src/doctor/running-node.ts';
import { DamselflyError } from '../../src/errors.ts';

const { signal } = new AbortController();

type Changes = Omit<Partial<PeersWorld>, 'discovery'> & {
  readonly discovery?: Partial<PeersWorld['discovery']>;
};

/** Nobody is reached at 10.0.0.9; `dialed` has who was asked. */
function worldOf(changes: Changes, dialed: string[] = []): PeersWorld {
  return {
    enabled: true,
    networkKeyFile: undefined,
    listen: ['/ip4/0.0.0.0/tcp/4006'],
    transport: 'auto',
    node: Promise.resolve({ kind: 'none', reason: 'connection refused' }),
    ownAddresses: new Set(['127.0.0.1', '10.0.0.9']),
    readKeys: async () => ['abc123'],
    resolve: async (host) => (host === 'members.test' ? ['10.0.0.1', 'fd00::1'] : []),
    dial: async (host, port) => {
      dialed.push(`${host} ${port}`);
      if (host === '10.0.0.9') throw new Error('refused');
    },
    reasonOf: (error) => (error as Error).message,
    ...changes,
    discovery: { static: [], bootstrap: [], dns: [], mdns: false, ...changes.discovery },
  };
}

/** All but the word on clocks, which always comes last; whatever is to be mended says how. */
async function found(world: PeersWorld): Promise<Found[]> {
  const all = await checkPeers(world, signal);
  for (const { verdict, remedy, what } of all)
    assert.equal(remedy !== undefined, verdict === 'warning' || verdict === 'failed', what);
  const last = all.pop();
  assert.equal(last?.subject, 'clocks');
  return all;
}

async function lines(changes: Changes): Promise<string[]> {
  const all = await found(worldOf({ discovery: { mdns: true }, ...changes }));
  return all
    .filter(({ what }) => !what.includes('multicast'))
    .map(({ verdict, subject, what }) => `${verdict} ${subject}: ${what}`);
}

function nodeWith(peers: SwarmStatus | null | undefined): Promise<RunningNode> {
  return Promise.resolve({ kind: 'node', status: { peers } as StatusDocument });
}

function memberAt(state: MemberStatus['state'], ...addresses: string[]): MemberStatus {
  return {
    id: '12D3KooWxxxxxxxxabcdefgh' as PeerId,
    zone: '',
    addresses,
    state,
    connected: true,
    receivedBytes: 0,
    sentBytes: 0,
    rttMs: null,
    score: 1,
  };
}

function swarmOf(members: readonly MemberStatus[]): SwarmStatus {
  return {
    id: '12D3KooWself' as PeerId,
    zone: '',
    epoch: 1,
    listen: { data: ['0.0.0.0:4005'], control: ['/ip4/0.0.0.0/tcp/4006'] },
    members,
    memberCount: members.length,
    totals: totalsOf('', members),
    planning: { segments: 0, waiting: 0, leases: 0 },
    transfers: [],
  };
}

test('off, without a way to find members, and by multicast', async () => {
  const off = await checkPeers(worldOf({ enabled: false }), signal);
  assert.deepEqual(
    off.map(({ verdict }) => verdict),
    ['skipped'],
  );
  const [none] = await found(worldOf({}));
  assert.equal(none?.verdict, 'warning');
  assert.match(none?.remedy ?? '', /peer\.discovery\.static, dns, mdns or bootstrap/);
  const [mdns] = await found(worldOf({ discovery: { mdns: true } }));
  assert.equal(mdns?.verdict, 'skipped');
});

test('members are reached by every form of address, names by all of theirs, and not all of hundreds', async () => {
  const dialed: string[] = [];
  const all = await found(
    worldOf(
      {
        discovery: {
          static: ['10.0.0.5', '10.0.0.9:5006', '[fd00::7]:5006'],
          bootstrap: ['/ip4/10.0.0.6/tcp/4106/p2p/QmPeer'],
          dns: ['members.test', 'nobody.test:4006'],
        },
      },
      dialed,
    ),
  );
  assert.deepEqual(dialed, [
    '10.0.0.5 4006',
    '10.0.0.9 5006',
    'fd00::7 5006',
    '10.0.0.6 4106',
    '10.0.0.1 4006',
    'fd00::1 4006',
  ]);
  assert.deepEqual(
    all.map(({ verdict, subject }) => `${verdict} ${subject}`),
    [
      'warning nobody.test:4006',
      'ok 10.0.0.5',
      'failed 10.0.0.9:5006',
      'ok [fd00::7]:5006',
      'ok /ip4/10.0.0.6/tcp/4106/p2p/QmPeer',
      'ok members.test (10.0.0.1)',
      'ok members.test (fd00::1)',
    ],
  );
  const many = Array.from({ length: 40 }, (_, n) => `10.1.0.${n}`);
  const last = (await found(worldOf({ discovery: { static: many } }))).at(-1);
  assert.equal(last?.what, '8 more members were not dialled');
});

test('this host in the list of all is no failure while its node does not run', async () => {
  const discovery = { static: ['10.0.0.9'] };
  assert.deepEqual(await lines({ discovery }), ['skipped 10.0.0.9: this host itself, where no node runs']);
  const [another] = await lines({ discovery, ownAddresses: new Set() });
  assert.equal(another, 'failed 10.0.0.9: cannot be reached (refused)');
  const [running] = (await lines({ discovery, node: nodeWith(swarmOf([memberAt('live')])) })).slice(-1);
  assert.equal(running, 'failed 10.0.0.9: cannot be reached (refused)');
});

test('the key file: read, with names of its keys and nothing else; not understood; not readable', async () => {
  const networkKeyFile = '/etc/key';
  assert.deepEqual(await lines({ networkKeyFile, readKeys: async () => ['abc123', 'def456'] }), [
    'ok peer.networkKeyFile /etc/key: key abc123, which has this name on every node that has it; def456 accepted as well',
  ]);
  const failing = (cause?: Error) => async () => {
    throw new DamselflyError('network-key-invalid', 'line 1 should be another', { cause });
  };
  assert.deepEqual(await lines({ networkKeyFile, readKeys: failing() }), [
    'failed peer.networkKeyFile /etc/key: line 1 should be another',
  ]);
  assert.deepEqual(await lines({ networkKeyFile, readKeys: failing(new Error('ENOENT')) }), [
    'skipped peer.networkKeyFile /etc/key: it cannot be read: see files',
  ]);
});

test('the running node: peers off, alone, with members, with none that is live', async () => {
  for (const off of [null, undefined])
    assert.match((await lines({ node: nodeWith(off) }))[0] ?? '', /^warning .*exchanges pieces with nobody/);
  assert.match((await lines({ node: nodeWith(swarmOf([])) }))[0] ?? '', /^warning .*knows no other member/);
  const members = [memberAt('live', '10.0.0.1:4005'), memberAt('suspect', '10.0.0.9:4005')];
  assert.deepEqual(await lines({ node: nodeWith(swarmOf(members)) }), [
    'ok the running node: knows 2 members: 1 live, 1 suspect, 0 quarantined',
  ]);
  assert.match(
    (await lines({ node: nodeWith(swarmOf(members.slice(1))) }))[0] ?? '',
    /^warning .*knows 1 member: 0 live/,
  );
});

test('a data plane that cannot be reached is a failure without libp2p to fall back on, and told by address', async () => {
  const member = memberAt('live', '10.0.0.9:4005');
  const node = nodeWith(swarmOf([member]));
  const [, auto] = await lines({ node });
  assert.equal(
    auto,
    'warning member …abcdefgh 10.0.0.9:4005: its data plane cannot be reached (refused): pieces come by libp2p, which costs several times the CPU',
  );
  assert.match((await lines({ node, transport: 'tls' }))[1] ?? '', /^failed member …abcdefgh/);
  assert.equal((await lines({ node, transport: 'libp2p' })).length, 1, 'nobody dials it then');
  const second = nodeWith(swarmOf([memberAt('live', '10.0.0.9:4005', '[fd00::1]:4005')]));
  assert.equal((await lines({ node: second })).length, 1, 'one way is enough');
});
