import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { SwarmStatus } from '../../peer/status.ts';
import type { DoctorReport } from '../../src/doctor/report.ts';
import { addBlob, MIB, readRight } from '../fault/support/reads.ts';
import { listing } from '../integration/support/setup.ts';
import { swarmStatus, TestSwarm } from '../integration/support/swarm.ts';
import { startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { runCli } from './run-cli.ts';

test('peers and doctor tell of two real nodes what each had from the other, and that they reach each other', async (t) => {
  await using origin = await startOrigin();
  await using swarm = await TestSwarm.start(2, listing(origin));
  const [giver, taker] = [swarm.node(0), swarm.node(1)];
  const blob = addBlob(origin, 'told', 3 * MIB);
  await readRight(giver.url, blob);
  await readRight(taker.url, blob);
  const ids = await Promise.all([giver, taker].map(async (node) => (await swarmStatus(node))?.id ?? ''));
  const [giverId = '', takerId = ''] = ids;

  const admin = taker.addresses.admin[0] ?? '';
  const [people, script] = await Promise.all([
    runCli(['peers', '--admin', admin]),
    runCli(['peers', '--json', '--admin', admin]),
  ]);
  assert.equal(people.code, 0, people.stderr);
  assert.match(people.stdout, new RegExp(`^this node {3}${takerId}$`, 'm'));
  assert.match(people.stdout, new RegExp(`^…${giverId.slice(-8)} .*live, connected .* MiB`, 'm'));
  const { members, totals } = script.json() as unknown as SwarmStatus;
  assert.deepEqual(
    members.map(({ id }) => id),
    [giverId],
  );
  // On a busy machine a piece may be asked for twice.
  const received = members[0]?.receivedBytes ?? 0;
  assert.ok(received >= blob.size, `${received} bytes`);
  assert.equal(totals.receivedBytes, received);

  const folder = await tempFolder(t);
  const config = folder.file('d.yaml');
  const { listen } = (await swarmStatus(taker)) ?? {};
  await writeFile(
    config,
    [
      `proxy: { listen: "${taker.addresses.proxy[0]}" }`,
      `admin: { listen: "${admin}" }`,
      `metrics: { listen: "${taker.addresses.metrics[0]}" }`,
      `cache: { dir: ${folder.file('cache')}, maxBytes: 1MiB, minFree: 0 }`,
      `peer: { enabled: true, insecure: true, listen: ${listen?.control[0]}, dataListen: "${listen?.data[0]}",`,
      `  discovery: { bootstrap: ["${(await swarmStatus(giver))?.listen.control[0]}"] } }`,
    ].join('\n'),
  );
  const { findings } = (
    await runCli(['doctor', '--root', folder.path, '-c', config, '--json'])
  ).json() as unknown as DoctorReport;
  const told = (name: string) =>
    findings.filter((finding) => finding.name === name).map(({ verdict, what }) => `${verdict}: ${what}`);
  const [known, reached] = told('peers');
  assert.equal(known, 'ok: knows 1 member: 1 live, 0 suspect, 0 quarantined');
  assert.match(reached ?? '', /^ok: reached in/);
  assert.equal(told('ports').filter((line) => line.startsWith("ok: the running node's")).length, 5);
});
