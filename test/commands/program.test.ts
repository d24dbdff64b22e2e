import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { run } from '../../src/commands/program.ts';
import { refusingAddress } from '../support/listening.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { runCli } from './run-cli.ts';

test('help and version go to stdout and are a success', async () => {
  const [help, get, version, helpCommand] = await Promise.all([
    runCli(['--help']),
    runCli(['get', '--help']),
    runCli(['--version']),
    runCli(['help', 'serve']),
  ]);
  assert.equal(help.code, 0);
  for (const name of ['serve', 'get', 'prefetch', 'status'])
    assert.match(help.stdout, new RegExp(`^  ${name}\\b`, 'm'));
  assert.match(help.stdout, /Exit codes: 0 success, 1 failure, 2 bad usage/);
  assert.match(get.stdout, /Examples:\n {2}damselfly get https:/);
  assert.equal(helpCommand.code, 0);
  assert.match(helpCommand.stdout, /--set/);
  assert.match(version.stdout, /^\d+\.\d+\.\d+/);
  assert.equal(version.code, 0);
});

for (const [args, told] of [
  [[], /Usage: damselfly/],
  [['nope'], /^damselfly: unknown command 'nope'/],
  [['statu'], /Did you mean status\?/],
  [['get'], /missing required argument 'url'/],
  [['get', 'http://127.0.0.1:1/x'], /-O FILE is missing/],
  [['get', 'http://127.0.0.1:1/x', '-O', 'f', '--nope'], /unknown option '--nope'/],
  [['get', 'ftp://me:hunter2@h/x', '-O', 'f'], /ftp:\/\/h\/x: this scheme is not supported/],
  [['get', 'oci://Repo:x y', '-O', 'f'], /names no image or blob/],
  [['get', 'http://127.0.0.1:1/x', '-O', 'f', '--range', '5-1'], /--range is "5-1"; expected A-B/],
  [['get', 'http://127.0.0.1:1/x', '-O', 'f', '--digest', 'md5:1'], /--digest is "md5:1"; expected sha256:/],
  [['get', 'http://127.0.0.1:1/x', '-O', 'f', '-H', 'hunter2'], /-H expects 'Name: value'/],
  [['get', 'http://127.0.0.1:1/x', '-O', 'f', '-H', 'Range: bytes=1-2'], /use --range/],
  [['get', 'http://127.0.0.1:1/x', '-O', 'f', '--node', '4001'], /--node is "4001"; expected host:port/],
  [['prefetch'], /^damselfly prefetch: missing required argument/],
  [['prefetch', 'good', 'x y'], /"x y" names no image or blob/],
  [['prefetch', 'good', '--platform', 'linux'], /"linux" is no platform/],
  [['status', '--admin', 'x'], /--admin is "x"; expected host:port/],
  [['serve', '--set', 'log.levl=info'], /log\.levl: unknown key; expected log\.level/],
  [['serve', '-c', '/nonexistent/d.yaml'], /\/nonexistent\/d\.yaml cannot be read: there is no such file/],
] as const) {
  test(`bad usage is 2: ${args.join(' ') || 'nothing'}`, async (t) => {
    const written: string[] = [];
    t.mock.method(process.stderr, 'write', (text: string) => {
      written.push(text);
      return true;
    });
    const logged = t.mock.method(console, 'log', () => undefined);
    const code = await run(args);
    t.mock.restoreAll();
    const stderr = written.join('');
    assert.equal(code, 2, stderr);
    assert.match(stderr, told);
    assert.equal(logged.mock.callCount(), 0);
    assert.doesNotMatch(stderr, /hunter2|\n {4}at /);
  });
}

test('the exit code reaches the shell', async () => {
  const { code, stdout, stderr } = await runCli(['nope']);
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /unknown command 'nope'/);
});

test('a refused configuration is 2 with every problem, for every command', async (t) => {
  const folder = await tempFolder(t);
  const file = folder.file('d.yaml');
  await writeFile(file, 'proxy:\n  lisen: x\nlog:\n  level: loud\n');
  for (const args of [
    ['serve'],
    ['status'],
    ['prefetch', 'x/y'],
    ['get', 'http://127.0.0.1:1/x', '-O', 'f'],
  ]) {
    const { code, stderr } = await runCli([...args, '-c', file]);
    assert.equal(code, 2);
    assert.match(stderr, /proxy\.lisen: unknown key .*did you mean listen\?.*d\.yaml:2\)/);
    assert.match(stderr, /log\.level: is "loud"; expected trace, debug.*d\.yaml:4\)/);
  }
});

test('with --json a failure is one document as well', async () => {
  const address = await refusingAddress();
  const { code, stderr, json } = await runCli(['status', '--json', '--admin', address]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`no node answers at ${address} \\(connection refused\\)`));
  assert.deepEqual(Object.keys(json()), ['error']);
  assert.equal((json().error as { code: string }).code, 'node-unreachable');
  const usage = await runCli(['status', '--json', '--zzz']);
  assert.equal(usage.code, 2);
  assert.deepEqual(usage.json(), { error: { code: 'usage', message: "unknown option '--zzz'" } });
});

test('an old Node is told so, and nothing is loaded that it cannot read', async () => {
  const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.19.0' } })`;
  const { code, stderr } = await runCli(['--version'], {
    nodeArgs: ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`],
  });
  assert.equal(code, 1);
  assert.match(stderr, /Node 20\.19\.0 is too old: 22\.19 or later is needed/);
});
