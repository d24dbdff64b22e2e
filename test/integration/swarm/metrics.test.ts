import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { addBlob, MIB, readRight, readThrough } from '../../fault/support/reads.ts';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { startOrigin } from '../../support/origin.ts';
import type { TestNode } from '../support/node.ts';
import { listing } from '../support/setup.ts';
import { swarmStatus, TestSwarm } from '../support/swarm.ts';

/** What nodes that share a blob move; the others need trouble. */
const MOVED_BY_SHARING = [
  'damselfly_members{state="live"}',
  'damselfly_membership_table_size',
  'damselfly_membership_messages_total{direction="sent",kind="hello"}',
  'damselfly_membership_messages_total{direction="received",kind="rows"}',
  'damselfly_membership_bytes_total{direction="sent"}',
  'damselfly_membership_bytes_total{direction="received"}',
  'damselfly_membership_changes_total{change="joined"}',
  'damselfly_peer_connections{transport="tls"}',
  'damselfly_peer_connections{transport="libp2p"}',
  'damselfly_peer_dials_total{transport="tls"}',
  'damselfly_peer_dials_total{transport="libp2p"}',
  'damselfly_peer_handshakes_total{transport="tls",side="in"}',
  'damselfly_peer_handshakes_total{transport="tls",side="out"}',
  'damselfly_peer_handshakes_total{transport="libp2p",side="in"}',
  'damselfly_peer_handshakes_total{transport="libp2p",side="out"}',
  'damselfly_peer_received_bytes_total{transport="tls",urgency="demand"}',
  'damselfly_peer_sent_bytes_total{transport="tls",urgency="demand"}',
  'dragonfly_client_upload_traffic',
  'damselfly_peer_fetches_total{outcome="piece"}',
  'damselfly_peer_fetch_seconds_count',
  'damselfly_peer_first_byte_seconds_count',
  'damselfly_planner_asks_total{direction="sent"}',
  'damselfly_planner_asks_total{direction="received"}',
  'damselfly_planner_plans_total{direction="sent"}',
  'damselfly_planner_plans_total{direction="received"}',
  'damselfly_planner_answer_seconds_count',
  'damselfly_planner_assigned_pieces_total{kind="fetch"}',
  'damselfly_planner_assigned_pieces_total{kind="lease"}',
  'damselfly_planner_reports_total{direction="sent"}',
  'damselfly_planner_reports_total{direction="received"}',
  'damselfly_planner_inquiries_total{direction="sent"}',
  'damselfly_planner_inquiries_total{direction="received"}',
  'damselfly_planner_segments',
  'damselfly_leases_granted_total{kind="first"}',
  'damselfly_leases_ended_total{reason="done"}',
  'damselfly_received_bytes_total{source="peer"}',
  'dragonfly_client_download_traffic{type="REMOTE_PEER"}',
];

async function scrape(node: TestNode): Promise<Map<string, number>> {
  const text = (await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString();
  const lines = text.split('\n').map((line) => /^([a-z]\S*) (\S+)$/i.exec(line) ?? []);
  return new Map(
    lines.flatMap(([, series, value]) => (series === undefined ? [] : [[series, Number(value)]])),
  );
}

/** Over all nodes, and over the labels that are not given. */
async function sumOf(nodes: readonly TestNode[], beginning: string): Promise<number> {
  const all = await Promise.all(nodes.map(scrape));
  return all
    .flatMap((values) => [...values])
    .reduce((sum, [series, value]) => (series.startsWith(beginning) ? sum + value : sum), 0);
}

test('what nodes do for each other is in their metrics and their status, and agrees', async () => {
  await using origin = await startOrigin();
  await using swarm = await TestSwarm.start(3, listing(origin));
  const { nodes } = swarm;
  const blob = addBlob(origin, 'measured', 20 * MIB + 5);
  await readThrough(swarm.node(0).url, blob);
  await Promise.all([readRight(swarm.node(1).url, blob), readRight(swarm.node(2).url, blob)]);
  for (const series of MOVED_BY_SHARING)
    await eventually(async () => (await sumOf(nodes, `${series}`)) > 0, { what: `${series} moves` });
  for (const node of nodes) {
    const values = await scrape(node);
    assert.equal(values.get('damselfly_members{state="live"}'), 2);
    assert.equal(values.get('damselfly_membership_table_size'), 3);
  }
  // What came whole and right is 2 blobs; what was sent may be more, where a second holder was asked.
  const received = await sumOf(nodes, 'damselfly_received_bytes_total{source="peer"}');
  assert.ok(received >= 2 * blob.size, `${received} bytes`);
  const sent = await sumOf(nodes, 'damselfly_peer_sent_bytes_total');
  assert.ok(sent >= received, `${sent} bytes sent for ${received}`);
  assert.equal(await sumOf(nodes, 'dragonfly_client_upload_traffic'), sent);
  await eventually(async () => (await sumOf(nodes, 'damselfly_leases_running')) === 0, {
    what: 'leases are over when nobody reads',
  });
  const documents = await Promise.all(nodes.map(swarmStatus));
  const told = documents.reduce((sum, document) => sum + (document?.totals.receivedBytes ?? 0), 0);
  assert.ok(told >= received, `${told} bytes by status for ${received}`);
});

test('strangers, dead addresses and leavers are counted', async () => {
  await using origin = await startOrigin();
  await using swarm = await TestSwarm.start(2, listing(origin));
  const first = swarm.node(0);
  const [data = ''] = (await swarmStatus(first))?.listen.data ?? [];
  const stranger = connect({
    host: '127.0.0.1',
    port: Number(data.split(':')[1]),
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  });
  stranger.on('error', () => undefined);
  await eventually(async () => (await sumOf([first], 'damselfly_peer_refusals_total')) > 0, {
    what: 'a connection without a certificate is counted',
  });
  stranger.destroy();
  const dead = await swarm.add(['peer.discovery.static=["127.0.0.1:1"]']);
  await eventually(async () => (await sumOf([dead], 'damselfly_peer_dial_failures_total')) > 0, {
    what: 'a dial that fails is counted',
  });
  await swarm.node(1).stop();
  await eventually(
    async () => (await sumOf([first], 'damselfly_membership_changes_total{change="left"}')) > 0,
    { what: 'a goodbye is counted' },
  );
});
