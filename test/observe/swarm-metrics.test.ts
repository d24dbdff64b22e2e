import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { Metrics } from '../../src/observe/metrics.ts';
import { dialFailureOf } from '../../src/observe/swarm-labels.ts';
import { SwarmMetrics } from '../../src/observe/swarm-metrics.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Values by series, histograms by their count. */
async function values(registry: Registry): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const line of (await registry.metrics()).split('\n')) {
    const [, series = '', value] = /^([a-z]\S*) (\S+)$/.exec(line) ?? [];
    if (value !== undefined && !series.includes('_bucket{')) found.set(series, Number(value));
  }
  return found;
}

function nameOf(series: string): string {
  return series.replace(/\{.*$/, '').replace(/_(?:sum|count)$/, '');
}

test('every series of the swarm stands at zero in a node without peers', async () => {
  const registered = await values(new Metrics().registry);
  for (const series of [
    'damselfly_members{state="quarantined"}',
    'damselfly_membership_table_size',
    'damselfly_peer_refusals_total{transport="tls",side="in",reason="network-key"}',
    'damselfly_peer_received_bytes_total{transport="libp2p",urgency="prefetch"}',
    'damselfly_peer_fetches_total{outcome="wrong"}',
    'damselfly_peer_fetch_seconds_count',
    'damselfly_leases_ended_total{reason="silent"}',
    'damselfly_leases_running{role="planner"}',
    'damselfly_unleased_origin_reads_total{reason="silent"}',
    'damselfly_peer_busy_answers_total',
    'dragonfly_client_upload_traffic',
  ])
    assert.equal(registered.get(series), 0, series);
});

/** What each method moves, with what it is called with; a series that nobody moves here has no use. */
const MOVES: readonly (readonly [series: string, value: number, move: (swarm: SwarmMetrics) => void])[] = [
  [
    'damselfly_peer_handshakes_total{transport="tls",side="in"}',
    1,
    (swarm) => swarm.exchange.handshakeDone('tls', 'in'),
  ],
  [
    'damselfly_peer_refusals_total{transport="libp2p",side="out",reason="identity"}',
    1,
    (swarm) => swarm.exchange.refused('libp2p', 'out', 'identity'),
  ],
  ['damselfly_peer_dials_total{transport="tls"}', 1, (swarm) => swarm.exchange.dialed('tls')],
  [
    'damselfly_peer_dial_failures_total{transport="tls",reason="timeout"}',
    1,
    (swarm) => swarm.exchange.dialFailed('tls', 'timeout'),
  ],
  [
    'damselfly_peer_received_bytes_total{transport="tls",urgency="demand"}',
    7,
    (swarm) => swarm.exchange.pieceReceived('tls', 'demand', 7),
  ],
  [
    'damselfly_peer_sent_bytes_total{transport="libp2p",urgency="prefetch"}',
    8,
    (swarm) => swarm.exchange.pieceSent('libp2p', 'prefetch', 8),
  ],
  ['dragonfly_client_upload_traffic', 9, (swarm) => swarm.exchange.pieceSent('tls', 'demand', 9)],
  ['damselfly_peer_fetches_total{outcome="gone"}', 1, (swarm) => swarm.exchange.fetchEnded('gone', 1)],
  ['damselfly_peer_fetch_seconds_count', 1, (swarm) => swarm.exchange.fetchEnded('piece', 0.1)],
  ['damselfly_peer_first_byte_seconds_sum', 0.5, (swarm) => swarm.exchange.firstByte(0.5)],
  ['damselfly_peer_busy_answers_total', 1, (swarm) => swarm.exchange.busyAnswered()],
  ['damselfly_planner_asks_total{direction="sent"}', 1, (swarm) => swarm.planning.asked('sent')],
  ['damselfly_planner_plans_total{direction="received"}', 1, (swarm) => swarm.planning.planned('received')],
  ['damselfly_planner_answer_seconds_sum', 0.5, (swarm) => swarm.planning.planAnswered(0.5)],
  [
    'damselfly_planner_assigned_pieces_total{kind="fetch"}',
    3,
    (swarm) => swarm.planning.assigned('fetch', 3),
  ],
  ['damselfly_leases_granted_total{kind="first"}', 4, (swarm) => swarm.planning.assigned('lease', 4)],
  ['damselfly_leases_granted_total{kind="hedge"}', 1, (swarm) => swarm.planning.assigned('hedge', 1)],
  ['damselfly_leases_ended_total{reason="silent"}', 2, (swarm) => swarm.planning.leasesEnded('silent', 2)],
  [
    'damselfly_unleased_origin_reads_total{reason="silent"}',
    5,
    (swarm) => swarm.planning.readUnleased('silent', 5),
  ],
  [
    'damselfly_unleased_origin_reads_total{reason="alone"}',
    2,
    (swarm) => swarm.planning.readUnleased('alone', 2),
  ],
  ['damselfly_hedged_bytes_total{source="origin"}', 6, (swarm) => swarm.planning.hedged('origin', 6)],
  ['damselfly_planner_reports_total{direction="sent"}', 2, (swarm) => swarm.planning.reported('sent', 2)],
  [
    'damselfly_planner_inquiries_total{direction="received"}',
    1,
    (swarm) => swarm.planning.inquired('received'),
  ],
  ['damselfly_peer_suspicions_total', 1, (swarm) => swarm.membership.suspected()],
  [
    'damselfly_vouchers_refused_total{reason="signature"}',
    1,
    (swarm) => swarm.trust.voucherRefused('signature'),
  ],
  ['damselfly_contested_pieces_total', 1, (swarm) => swarm.trust.voucherRefused('contested')],
  ['damselfly_peer_dropped_pieces_total{reason="liar"}', 1, (swarm) => swarm.trust.dropped('liar')],
  ['damselfly_peer_quarantines_total{reason="lied"}', 1, (swarm) => swarm.trust.quarantined('lied')],
  [
    'damselfly_membership_messages_total{direction="sent",kind="rows"}',
    1,
    (swarm) => swarm.membership.message('sent', 'rows', 100),
  ],
  [
    'damselfly_membership_bytes_total{direction="received"}',
    100,
    (swarm) => swarm.membership.message('received', 'beats', 100),
  ],
  ['damselfly_membership_changes_total{change="left"}', 1, (swarm) => swarm.membership.changed('left')],
];

/** What `watch` is given, and shows. */
const GAUGES = {
  members: { live: 1, suspect: 2, quarantined: 3 },
  tableSize: 7,
  connections: { tls: 8, libp2p: 9 },
  uploads: { active: 10, queued: 11 },
  planner: { segments: 12, waiting: 13, leases: 14 },
  heldLeases: 15,
};
const SHOWN: Readonly<Record<string, number>> = {
  'damselfly_members{state="live"}': 1,
  'damselfly_members{state="suspect"}': 2,
  'damselfly_members{state="quarantined"}': 3,
  damselfly_membership_table_size: 7,
  'damselfly_peer_connections{transport="tls"}': 8,
  'damselfly_peer_connections{transport="libp2p"}': 9,
  damselfly_peer_uploads_active: 10,
  dragonfly_client_concurrent_upload_piece_total: 10,
  damselfly_peer_uploads_queued: 11,
  damselfly_planner_segments: 12,
  damselfly_planner_waiting_asks: 13,
  'damselfly_leases_running{role="planner"}': 14,
  'damselfly_leases_running{role="reader"}': 15,
};

test('each call moves its series, and no series is left that nothing moves', async () => {
  for (const [series, value, move] of MOVES) {
    const registry = new Registry();
    const swarm = new SwarmMetrics(registry);
    const before = await values(registry);
    assert.equal(before.get(series), 0, `${series} is there from the start`);
    move(swarm);
    const after = await values(registry);
    assert.equal(after.get(series), value, series);
    assert.deepEqual([...after.keys()], [...before.keys()], 'no series appears later');
  }
  const registry = new Registry();
  new SwarmMetrics(registry);
  const moved = new Set([...MOVES.map(([series]) => nameOf(series)), ...Object.keys(SHOWN).map(nameOf)]);
  for (const { name } of registry.getMetricsAsArray()) assert.ok(moved.has(name), `${name} stands still`);
});

test('gauges show the swarm as it is at the scrape, and zeros when there is none', async () => {
  const registry = new Registry();
  const swarm = new SwarmMetrics(registry);
  let now: typeof GAUGES | null = GAUGES;
  swarm.watch(() => now);
  const during = await values(registry);
  for (const [series, value] of Object.entries(SHOWN)) assert.equal(during.get(series), value, series);
  now = null;
  const after = await values(registry);
  for (const series of Object.keys(SHOWN)) assert.equal(after.get(series), 0, series);
});

test('a fetch that brought nothing is in no histogram of times', async () => {
  const registry = new Registry();
  new SwarmMetrics(registry).exchange.fetchEnded('late', 5);
  assert.equal((await values(registry)).get('damselfly_peer_fetch_seconds_count'), 0);
});

test('why a dial failed, by errno', () => {
  const reasons = ['ETIMEDOUT', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENOTFOUND', 'EPIPE', undefined].map(
    dialFailureOf,
  );
  assert.deepEqual(reasons, ['timeout', 'connection-refused', 'unreachable', 'name', 'other', 'other']);
});

test('each method is called by somebody in a node, by the name of its part of the metrics or as a counter', () => {
  const sources = ['src', 'peer']
    .flatMap((folder) =>
      readdirSync(`${ROOT}/${folder}`, { recursive: true, encoding: 'utf8' }).map(
        (name) => `${ROOT}/${folder}/${name}`,
      ),
    )
    .filter((file) => file.endsWith('.ts') && !file.includes('/src/observe/'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
  const swarm = new SwarmMetrics(new Registry());
  const methods = (['exchange', 'planning', 'trust', 'membership'] as const).flatMap((part) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(swarm[part]))
      .filter((name) => name !== 'constructor')
      .map((name) => ({ part, name })),
  );
  assert.ok(methods.length > 20);
  const idle = methods.filter(
    ({ part, name }) =>
      !new RegExp(`\\bmetrics\\.${part}\\.${name}\\(`).test(sources) &&
      !(part === 'exchange' && new RegExp(`\\b#?counters\\.${name}\\(`).test(sources)),
  );
  assert.deepEqual(idle, [], 'nobody calls these');
});
