import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';
import { seededBytes, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type Running, runCli, startCli } from './run-cli.ts';

const BYTES = seededBytes('serve', { start: 0, end: 2_500_000 });
let folder: TempFolder;
let origin: TestOrigin;
let blob: TestBlob;

before(async () => {
  folder = await tempFolder();
  origin = await startOrigin();
  blob = origin.repository('app').addBlob({ size: BYTES.length, seed: 'serve' });
});
after(async () => {
  await origin.close();
  await folder.remove();
});

interface Serving {
  readonly running: Running;
  readonly proxy: string;
  readonly admin: string;
  readonly metrics: string;
}

async function serve(name: string, nodeArgs: readonly string[] = []): Promise<Serving> {
  const file = folder.file(`${name}.yaml`);
  await writeFile(
    file,
    `cache: {dir: ${folder.file(name)}, minFree: 0}\naccess: {mode: node}\nproxy: {listen: 127.0.0.1:9}\n`,
  );
  const set = ['proxy.listen=127.0.0.1:0', 'metrics.listen=127.0.0.1:0', `proxy.defaultOrigin=${origin.url}`];
  const running = startCli(['serve', '-c', file, ...set.flatMap((one) => ['--set', one])], {
    env: { DAMSELFLY_ADMIN__LISTEN: '127.0.0.1:0', DAMSELFLY_LOG__LEVEL: 'info' },
    nodeArgs,
  });
  await running.shows(/serves\n(?: {2}\w+ +\S+\n){3}/);
  const shown = running.stdout();
  const address = (part: string): string => new RegExp(`^ {2}${part} +(\\S+)$`, 'm').exec(shown)?.[1] ?? '';
  return { running, proxy: address('proxy'), admin: address('admin'), metrics: address('metrics') };
}

test('serve, get, status and prefetch together; several signals are one stop, and it ends with 0', async () => {
  const { running, proxy, admin, metrics } = await serve('one');
  try {
    const file = folder.file('out');
    for (const source of ['origin', 'memory|disk']) {
      const got = await runCli(['get', origin.url + blob.path, '-O', file, '--json', '--node', proxy]);
      assert.equal(got.code, 0, got.stderr);
      assert.deepEqual(await readFile(file), BYTES);
      assert.equal(got.json().through, 'node');
      assert.match(String(got.json().source), new RegExp(`^(${source})$`));
    }
    assert.equal(origin.bytesSent(), BYTES.length);
    const status = await runCli(['status', '--admin', admin]);
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /^served +4\.8 MiB: /m);
    const prefetch = await runCli(['prefetch', origin.url + blob.path, '--admin', admin, '--json']);
    assert.equal(prefetch.code, 0, prefetch.stderr);
    assert.equal((await httpGet(`http://${metrics}/metrics`)).status, 200);
    const threads = await Promise.all(
      (await readdir(`/proc/${running.pid}/task`)).map((id) =>
        readFile(`/proc/${running.pid}/task/${id}/comm`, 'utf8'),
      ),
    );
    assert.equal(threads.filter((name) => name.startsWith('libuv-worker')).length, 16, 'threads of the pool');
  } finally {
    running.kill('SIGTERM');
    running.kill('SIGINT');
    running.kill('SIGTERM');
  }
  const { code, stderr } = await running.result;
  assert.equal(code, 0, stderr);
  for (const line of stderr.trim().split('\n')) assert.equal(typeof JSON.parse(line), 'object', line);
});

test('an error that nobody expected is logged with its code, and ends the node in order', async () => {
  const thrower = `process.on('SIGUSR2', () => { throw Object.assign(new Error('out of the blue'), { code: 'blue' }) })`;
  const preload = ['--import', `data:text/javascript,${encodeURIComponent(thrower)}`];
  const before = origin.bytesSent();
  const { running, proxy } = await serve('unexpected', preload);
  assert.equal((await httpGet(`http://${proxy}${blob.path}`)).bytes, BYTES.length);
  // At once: what was read is not in the index yet. A second one is logged, and changes nothing.
  running.kill('SIGUSR2');
  await running.shows(/out of the blue/);
  running.kill('SIGUSR2');
  const { code, stderr } = await running.result;
  assert.equal(code, 1, stderr);
  const lines = stderr.trim().split('\n');
  const fatal = lines.map((line) => JSON.parse(line)).find(({ level }) => level === 'fatal');
  assert.equal(fatal.err.code, 'blue');
  assert.match(fatal.err.stack, /at /);
  const again = await serve('unexpected');
  try {
    assert.equal((await httpGet(`http://${again.proxy}${blob.path}`)).bytes, BYTES.length);
    assert.equal(origin.bytesSent() - before, BYTES.length, 'it was read again');
  } finally {
    again.running.kill('SIGTERM');
    await again.running.result;
  }
});

test('a node that cannot start says which key, and why, without a stack', async (t) => {
  const taken = await listening(createServer());
  t.after(() => taken.close());
  const first = await serve('held');
  try {
    for (const [set, why, exitCode] of [
      [`proxy.listen=${taken.host}`, /proxy\.listen: cannot listen on .*\[listen-failed\]/, 1],
      [
        `proxy.listeners=[{"listen":"${taken.host}"}]`,
        /proxy\.listeners\[0\]\.listen: cannot listen on .*\[listen-failed\]/,
        1,
      ],
      [
        'proxy.listeners=[{"listen":"127.0.0.1:0","tls":{"certFile":"/nonexistent","keyFile":"/nonexistent"}}]',
        /proxy\.listeners\[0\]\.tls\.certFile: \/nonexistent cannot be read \(ENOENT\); .*\[config-invalid\]/,
        2,
      ],
      [`cache.dir=${folder.file('held')}`, /\[cache-unusable\]/, 1],
    ] as const) {
      const free = [
        'admin.listen=127.0.0.1:0',
        'metrics.listen=127.0.0.1:0',
        `cache.dir=${folder.file('two')}`,
      ];
      const all = ['proxy.listen=127.0.0.1:0', ...free, set].flatMap((one) => ['--set', one]);
      const { code, stderr } = await runCli(['serve', ...all]);
      assert.equal(code, exitCode, stderr);
      assert.match(stderr, why);
      assert.doesNotMatch(stderr, /\n {4}at /);
    }
  } finally {
    first.running.kill('SIGTERM');
    await first.running.result;
  }
});

test('a node with peers prints where they reach it, and from where it learns of them', async () => {
  const set = [
    ...['proxy.listen', 'admin.listen', 'metrics.listen', 'peer.dataListen'].map(
      (key) => `${key}=127.0.0.1:0`,
    ),
    ...[`cache.dir=${folder.file('peer')}`, 'cache.minFree=0', 'peer.listen=/ip4/127.0.0.1/tcp/0'],
    ...['peer.enabled=true', 'peer.insecure=true', 'peer.discovery.static=["127.0.0.1:9","127.0.0.1:10"]'],
  ];
  const running = startCli(['serve', ...set.flatMap((one) => ['--set', one])]);
  await running.shows(/discovery source/);
  running.kill('SIGTERM');
  const { code, stdout, stderr } = await running.result;
  assert.equal(code, 0, stderr);
  const data = String.raw`127\.0\.0\.1:[1-9]\d*`;
  const control = String.raw`/ip4/127\.0\.0\.1/tcp/[1-9]\d*`;
  assert.match(stdout, new RegExp(String.raw`^  peers    (${data}, ${control})\n +announced as \1$`, 'm'));
  assert.match(stdout, /^ +peer …\w{8}, transport auto, 2 discovery sources \(2 static\)$/m);
});

test('warnings of the configuration are logged', async () => {
  const key = folder.file('key');
  await writeFile(key, 'x', { mode: 0o644 });
  const set = ['proxy.listen=127.0.0.1:0', 'admin.listen=127.0.0.1:0', 'metrics.listen=127.0.0.1:0'];
  const all = [...set, `cache.dir=${folder.file('three')}`, `admin.tokenFile=${key}`];
  const running = startCli(['serve', ...all.flatMap((one) => ['--set', one])]);
  await running.shows(/"level":"warn".*admin\.tokenFile: .*can be read by other users/);
  running.kill('SIGTERM');
  await running.result;
});

test('log.level: nothing below it is written', async () => {
  const set = ['proxy.listen=127.0.0.1:0', 'admin.listen=127.0.0.1:0', 'metrics.listen=127.0.0.1:0'];
  const all = [...set, `cache.dir=${folder.file('quiet')}`, 'log.level=error'];
  const running = startCli(['serve', ...all.flatMap((one) => ['--set', one])]);
  await running.shows(/serves\n/);
  running.kill('SIGTERM');
  const { code, stderr } = await running.result;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
});
