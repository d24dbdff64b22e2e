import assert from 'node:assert/strict';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import type { DoctorReport } from '../../src/doctor/report.ts';
import { startNode } from '../integration/support/node.ts';
import { listening, refusingAddress } from '../support/listening.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { type CliResult, runCli } from './run-cli.ts';

function report(result: CliResult): DoctorReport {
  return result.json() as unknown as DoctorReport;
}

function lines({ findings }: DoctorReport, name: string): string[] {
  return findings
    .filter((finding) => finding.name === name)
    .map(({ verdict, subject, what }) => `${verdict} ${subject}: ${what}`);
}

const PORTS =
  'proxy: { listen: "127.0.0.1:0" }\nadmin: { listen: "127.0.0.1:0" }\nmetrics: { listen: "127.0.0.1:0" }\n';

test('with no node: what is missing is a warning, and nothing is written', async (t) => {
  const folder = await tempFolder(t);
  const config = folder.file('d.yaml');
  writeFileSync(config, `${PORTS}cache: { dir: ${folder.file('cache')}, maxBytes: 1MiB, minFree: 0 }\n`);
  const [people, script] = await Promise.all([
    runCli(['doctor', '--root', folder.path, '-c', config]),
    runCli(['doctor', '--root', folder.path, '-c', config, '--json']),
  ]);
  assert.equal(people.code, 0, people.stdout + people.stderr);
  assert.match(people.stdout, /^WARNING +node +admin\.listen: no node runs here/m);
  assert.match(people.stdout, /^nothing failed, /m);
  // Which client is to go where cannot be told of a port that is not known yet.
  assert.match(people.stdout, /^- +clients +not judged: proxy\.listen has no TCP address/m);
  assert.ok(!people.stdout.includes('\u001b'), 'no colours into a pipe');
  assert.equal(script.code, 0);
  const { ok, counts, findings } = report(script);
  assert.deepEqual([ok, counts.failed], [true, 0]);
  for (const { name, verdict, remedy } of findings)
    assert.equal(typeof remedy === 'string', verdict === 'warning' || verdict === 'failed', name);
  assert.deepEqual(readdirSync(folder.path), ['d.yaml']);
});

test('what fails is in the one document as well, and the code is 1', async (t) => {
  const folder = await tempFolder(t);
  await using other = await listening(createServer((_, response) => response.end('hello')));
  await using origin = await listening(createServer((_, response) => response.end()));
  const gone = await refusingAddress();
  const token = folder.file('token');
  writeFileSync(token, 'hunter2');
  chmodSync(token, 0o644);
  const config = folder.file('d.yaml');
  writeFileSync(
    config,
    [
      `proxy: { listen: "${other.host}", defaultOrigin: "${origin.url}" }`,
      `admin: { listen: "${other.host}", tokenFile: ${token} }`,
      'metrics: { listen: "127.0.0.1:0" }',
      `cache: { dir: ${config}/cache }`,
      `origins: [{ host: "${gone}", insecure: true }]`,
      'peer: { enabled: true, insecure: true, listen: /ip4/127.0.0.1/tcp/0, dataListen: "127.0.0.1:0",',
      `  discovery: { static: ["${gone}"] } }`,
    ].join('\n'),
  );
  const result = await runCli(['doctor', '--root', folder.path, '-c', config, '--json']);
  assert.equal(result.code, 1, result.stderr);
  const found = report(result);
  assert.equal(found.ok, false);
  assert.match(lines(found, 'node')[0] ?? '', /^failed .*is no Damselfly/);
  assert.match(
    lines(found, 'ports')[0] ?? '',
    new RegExp(`^failed proxy\\.listen .*taken by .*${process.pid}`),
  );
  assert.match(lines(found, 'disk')[0] ?? '', /^failed .*is no folder/);
  assert.match(lines(found, 'origins')[0] ?? '', /^ok .*answers 200/);
  assert.match(lines(found, 'origins')[1] ?? '', /^failed .*cannot be reached \(connection refused\)/);
  assert.match(lines(found, 'clock')[0] ?? '', /^ok /);
  assert.match(lines(found, 'peers')[0] ?? '', /^failed .*connection refused/);
  assert.match(lines(found, 'files')[0] ?? '', /^warning admin\.tokenFile .*other users/);
  assert.match(lines(found, 'config')[1] ?? '', /^warning .*peer\.insecure/);
  assert.doesNotMatch(result.stdout + result.stderr, /hunter2/);
  assert.ok(found.seconds < 10);
});

test('a running node is found well, with its ports, its lock and its limits', async (t) => {
  const folder = await tempFolder(t);
  const node = await startNode(folder.file('cache'));
  t.after(() => node.stop());
  const { proxy, admin, metrics } = node.addresses;
  const config = folder.file('d.yaml');
  writeFileSync(
    config,
    `proxy: { listen: "${proxy[0]}" }\nadmin: { listen: "${admin[0]}" }\nmetrics: { listen: "${metrics[0]}" }\ncache: { dir: ${folder.file('cache')}, maxBytes: 1MiB, minFree: 0 }\n`,
  );
  const found = report(await runCli(['doctor', '--root', folder.path, '-c', config, '--json']));
  assert.equal(found.counts.failed, 0, JSON.stringify(found.findings));
  assert.equal(lines(found, 'ports').filter((line) => line.includes("the running node's")).length, 3);
  assert.match(
    lines(found, 'cache-dir')[0] ?? '',
    new RegExp(`the running node uses it \\(pid ${process.pid}\\)`),
  );
  assert.match(lines(found, 'open-files')[0] ?? '', new RegExp(`the node \\(pid ${process.pid}\\)`));
  assert.deepEqual(lines(found, 'clients'), [
    'skipped undefined: no image client is configured on this host',
  ]);
  assert.deepEqual(
    lines(found, 'node')
      .slice(1)
      .map((line) => line.split(' ')[0]),
    ['ok', 'ok'],
  );
});

test('a configuration that is refused is a finding, and this host is still looked at', async (t) => {
  const folder = await tempFolder(t);
  const config = folder.file('d.yaml');
  writeFileSync(config, 'proxy: { lisen: x }\nlog: { level: loud }\n');
  const result = await runCli(['doctor', '--root', folder.path, '-c', config, '--json']);
  assert.equal(result.code, 1);
  const found = report(result);
  assert.equal(lines(found, 'config').length, 2);
  assert.match(lines(found, 'config')[0] ?? '', /proxy\.lisen: unknown key/);
  assert.ok(lines(found, 'runtime').length > 0);
  const missing = report(await runCli(['doctor', '-c', folder.file('none.yaml'), '--json']));
  assert.match(lines(missing, 'config')[0] ?? '', /^failed /);
  const wrong = await runCli(['doctor', '--admin', 'nonsense', '--json']);
  assert.equal(wrong.code, 2);
});
