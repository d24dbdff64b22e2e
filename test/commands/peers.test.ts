import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { parseKeyFile } from '../../peer/identity/network-key-file.ts';
import type { PeerId } from '../../peer/member.ts';
import type { MemberStatus, SwarmStatus } from '../../peer/status.ts';
import { totalsOf } from '../../peer/status-totals.ts';
import type { Digest } from '../../src/blob/digest.ts';
import { shortIds } from '../../src/commands/peers/short-ids.ts';
import { PEERS_OFF, peersText } from '../../src/commands/peers/text.ts';
import { type Listening, listening } from '../support/listening.ts';
import { runCli } from './run-cli.ts';

const MIB = 2 ** 20;

function idOf(end: string): PeerId {
  return `12D3KooW${'x'.repeat(36)}${end}` as PeerId;
}

function memberOf(end: string, changes: Partial<MemberStatus> = {}): MemberStatus {
  return {
    id: idOf(end),
    zone: 'rack-1',
    addresses: ['10.0.0.5:4005', '[fd00::5]:4005'],
    state: 'live',
    connected: true,
    receivedBytes: 12 * MIB,
    sentBytes: 0,
    rttMs: 0.42,
    score: 1,
    ...changes,
  };
}

const MEMBERS = [
  memberOf('aaaaaaa1'),
  memberOf('aaaaaaa2', { zone: '', connected: false, rttMs: null, score: 0.25, state: 'suspect' }),
];

const SWARM: SwarmStatus = {
  id: idOf('selfself'),
  zone: 'rack-2',
  epoch: 1,
  listen: { data: ['0.0.0.0:4005'], control: ['/ip4/0.0.0.0/tcp/4006'] },
  members: MEMBERS,
  memberCount: 2,
  totals: totalsOf('rack-2', MEMBERS),
  planning: { segments: 14, waiting: 1, leases: 3 },
  transfers: [
    {
      direction: 'from',
      peer: idOf('aaaaaaa1'),
      digest: `sha256:${'ab'.repeat(32)}` as Digest,
      piece: 17,
      urgency: 'demand',
      bytes: MIB / 2,
      ageMs: 120,
    },
  ],
};

let node: Listening;
let peers: SwarmStatus | null | undefined;

before(async () => {
  node = await listening(
    createServer((request, response) => {
      assert.equal(request.url, '/api/v1/status');
      response.end(JSON.stringify({ version: '0.1.0', peers }));
    }),
  );
});
after(() => node.close());

test('peers shows members, plans and transfers, for people and for scripts', async () => {
  peers = SWARM;
  const [people, script] = await Promise.all([
    runCli(['peers', '--admin', node.host]),
    runCli(['peers', '--json', '--admin', node.host]),
  ]);
  assert.equal(people.code, 0, people.stderr);
  assert.deepEqual(script.json(), JSON.parse(JSON.stringify(SWARM)));
  assert.deepEqual(people.stdout.split('\n'), [
    `this node   ${SWARM.id}, zone rack-2`,
    'listening   0.0.0.0:4005, /ip4/0.0.0.0/tcp/4006',
    'members     2: 1 live, 1 suspect, in 3 zones',
    'pieces      24.0 MiB from them, 0 B to them',
    'planning    plans 14 segments, 3 of their pieces leased out, 1 question waiting',
    '',
    'MEMBER     ZONE    STATE            ADDRESS        FROM IT   TO IT  RTT     SCORE',
    '…aaaaaaa1  rack-1  live, connected  10.0.0.5:4005  12.0 MiB  0 B    0.4 ms  1.00',
    '…aaaaaaa2  -       suspect          10.0.0.5:4005  12.0 MiB  0 B    -       0.25',
    '',
    'UNDER WAY  MEMBER     BLOB                 PIECE  BYTES      SINCE  FOR',
    'from       …aaaaaaa1  sha256:abababababab  17     512.0 KiB  0.1 s  demand',
    '',
  ]);
});

test('with peers off that is said, with the way to switch them on, and a script gets null', async () => {
  // The second is a node that knows nothing of peers yet.
  for (const off of [null, undefined]) {
    peers = off;
    const [people, script] = await Promise.all([
      runCli(['peers', '--admin', node.host]),
      runCli(['peers', '--json', '--admin', node.host]),
    ]);
    assert.deepEqual([people.code, people.stdout], [0, `${PEERS_OFF}\n`], people.stderr);
    assert.deepEqual([script.code, script.stdout], [0, 'null\n'], script.stderr);
  }
  assert.match(PEERS_OFF, /peers keygen[\s\S]*peer\.networkKeyFile[\s\S]*peer\.discovery/);
});

test('a swarm without others, and one that is larger than the document', () => {
  const alone = peersText({
    ...SWARM,
    zone: '',
    members: [],
    memberCount: 0,
    totals: totalsOf('', []),
    transfers: [],
  });
  assert.match(alone, /^members {5}none known$/m);
  assert.doesNotMatch(alone, /MEMBER|UNDER WAY|zone/);
  assert.match(
    peersText({ ...SWARM, memberCount: 300 }),
    /^2 of 300 members are shown, the live ones first$/m,
  );
});

test('ids are shortened as far as they stay apart', () => {
  const near = [idOf('1aaaaaaaa'), idOf('2aaaaaaaa')];
  const shorten = shortIds(near);
  assert.deepEqual(near.map(shorten), ['…1aaaaaaaa', '…2aaaaaaaa']);
  assert.equal(shortIds(['a', 'a'])('a'), 'a');
});

test('keygen prints a key file, nothing else, and another one each time', async () => {
  const [one, two] = await Promise.all([runCli(['peers', 'keygen']), runCli(['peers', 'keygen'])]);
  for (const { code, stdout, stderr } of [one, two]) {
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^\/key\/swarm\/psk\/1\.0\.0\/\n\/base16\/\n[0-9a-f]{64}\n$/);
    assert.equal(parseKeyFile('stdin', stdout).length, 1);
  }
  assert.notEqual(one.stdout, two.stdout);
});

test('bad usage is 2', async () => {
  for (const args of [
    ['peers', 'nope'],
    ['peers', 'keygen', 'x'],
    ['peers', '--nope'],
  ]) {
    const { code, stdout } = await runCli(args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
  }
});
