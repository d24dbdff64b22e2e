import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { blobsText } from '../../src/commands/blobs.ts';
import { startNode } from '../integration/support/node.ts';
import { blobOf, putAll, type StoredBlob, storeIn } from '../store/support.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type CliResult, runCli } from './run-cli.ts';

const BLOBS = [0, 1, 2].map((n) => blobOf(2 * PIECE_BYTES + n, `cli ${n}`));
const [FIRST, SECOND, THIRD] = BLOBS as [StoredBlob, StoredBlob, StoredBlob];

/** A cache with three blobs that no node uses, and a configuration that means it. */
async function filledCache(t: TestContext): Promise<{ folder: TempFolder; dir: string; config: string }> {
  const folder = await tempFolder(t);
  const dir = folder.file('cache');
  const store = await storeIn(dir);
  for (const blob of BLOBS) {
    await putAll(store, blob);
    store.catalog.markProven(blob.digest);
  }
  await store.close();
  writeFileSync(join(dir, 'identity.key'), 'secret');
  const config = folder.file('d.yaml');
  // Port 9 of loopback: nobody listens there.
  writeFileSync(config, `cache: { dir: ${dir}, minFree: 0 }\nadmin: { listen: 127.0.0.1:9 }\n`);
  return { folder, dir, config };
}

async function runningNode(t: TestContext, set: readonly string[] = []) {
  const { folder, dir } = await filledCache(t);
  const node = await startNode(dir, set);
  t.after(() => node.stop());
  const admin = node.addresses.admin[0] ?? '';
  return { folder, dir, node, cli: (...args: string[]) => runCli([...args, '--admin', admin]) };
}

function damage(dir: string, blob: StoredBlob): void {
  const hex = blob.digest.slice('sha256:'.length);
  const name = readdirSync(join(dir, 'segments')).find((one) => one.startsWith(hex)) ?? '';
  const file = join(dir, 'segments', name);
  const bytes = readFileSync(file);
  bytes[PIECE_BYTES + 5] = (bytes[PIECE_BYTES + 5] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

const short = ({ digest }: StoredBlob): string => digest.slice(0, 'sha256:'.length + 12);

function assertRepaired(result: CliResult): void {
  assert.equal(result.code, 1, result.stderr);
  const document = result.json();
  assert.deepEqual([document.ok, document.blobs, document.badBlobs, document.badPieces], [false, 3, 1, 1]);
  assert.deepEqual(document.bad, [
    { digest: SECOND.digest, reason: 'damaged', pieces: [{ first: 1, end: 2 }] },
  ]);
}

test('a running node: blobs lists, verify finds and drops, rm removes, gc evicts', async (t) => {
  const { dir, cli } = await runningNode(t);
  const listed = (await cli('blobs', '--json')).json() as { blobs: { digest: string }[]; total: object };
  assert.deepEqual(listed.blobs.map(({ digest }) => digest).sort(), BLOBS.map(({ digest }) => digest).sort());
  const one = await cli('blobs', '--digest', short(FIRST));
  assert.equal(one.code, 0, one.stderr);
  assert.match(one.stdout, /^DIGEST +SIZE +PIECES +ON DISK +CHECKED +LAST READ +FROM$/m);
  assert.match(
    one.stdout,
    new RegExp(`^${short(FIRST)} +2\\.0 MiB +whole +2\\.0 MiB +proven +.* ago +-$`, 'm'),
  );
  assert.match(one.stdout, /^1 blob, 2\.0 MiB on disk in all$/m);
  assert.match((await cli('blobs', '--limit', '2')).stdout, /^2 of 3 blobs shown/m);

  damage(dir, SECOND);
  const repaired = await cli('cache', 'verify', '--json');
  assertRepaired(repaired);
  assert.equal(repaired.json().through, 'node');
  const sound = await cli('cache', 'verify');
  assert.equal(sound.code, 0, sound.stderr);
  assert.match(sound.stdout, /^3 blobs, 5\.0 MiB in .*: all right$/m);

  const gone = await cli('cache', 'rm', short(FIRST));
  assert.equal(gone.stdout, `${FIRST.digest}: 2.0 MiB, removed\n`, gone.stderr);
  const again = await cli('cache', 'rm', short(FIRST), '--json');
  assert.equal(again.code, 1);
  assert.equal((again.json().error as { code: string }).code, 'blob-unknown');
  const collected = (await cli('cache', 'gc', '--max-bytes', '0', '--json')).json();
  assert.equal((collected.evicted as { segments: number }).segments, 2);
  assert.equal((await cli('blobs')).stdout, 'no blobs\n');
});

test('no node: verify, gc and rm do it in the directory, and leave what is not theirs', async (t) => {
  const { dir, config } = await filledCache(t);
  const cli = (...args: string[]) => runCli([...args, '-c', config]);
  damage(dir, SECOND);
  const repaired = await cli('cache', 'verify', '--json');
  assertRepaired(repaired);
  assert.equal(repaired.json().through, 'directory');
  writeFileSync(join(dir, 'segments', 'left-behind'), 'x');
  const tidied = await cli('cache', 'gc');
  assert.equal(tidied.code, 0, tidied.stderr);
  assert.equal(existsSync(join(dir, 'segments', 'left-behind')), false);
  const old = (await cli('cache', 'gc', '--older-than', '7d', '--json')).json();
  assert.equal((old.evicted as { segments: number }).segments, 0);
  const hex = THIRD.digest.slice('sha256:'.length);
  const removed = (await cli('cache', 'rm', hex, short(FIRST), '--json')).json();
  assert.deepEqual([removed.blobs, removed.inUse], [2, 0]);
  const all = await cli('cache', 'rm', '--all');
  assert.match(all.stdout, /^1 blob removed, 2\.0 MiB$/m);
  assert.deepEqual(readdirSync(join(dir, 'segments')), []);
  assert.equal(readFileSync(join(dir, 'identity.key'), 'utf8'), 'secret');
  const blobs = await cli('blobs');
  assert.equal(blobs.code, 1);
  assert.match(blobs.stderr, /no node answers at 127\.0\.0\.1:9 .*damselfly serve.*\[node-unreachable\]/);
});

test('what cannot be understood is 2, what cannot be done 1, and nothing is touched', async (t) => {
  const { dir, config, folder } = await filledCache(t);
  const cli = (...args: string[]) => runCli([...args, '-c', config]);
  for (const args of [
    ['cache', 'rm'],
    ['cache', 'rm', '--all', short(FIRST)],
    ['cache', 'rm', 'nonsense'],
    ['cache', 'rm', short(FIRST), 'sha256:ab'],
    ['cache', 'gc', '--older-than', 'soon'],
    ['cache', 'gc', '--max-bytes', '1M'],
    ['cache', 'verify', '--rate', 'fast'],
    ['cache', 'frob'],
    ['blobs', '--limit', '-1'],
  ]) {
    const { code, stderr } = await cli(...args);
    assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
  }
  assert.equal(readdirSync(join(dir, 'segments')).length, 3);
  const store = await storeIn(dir);
  const locked = await cli('cache', 'verify');
  await store.close();
  assert.equal(locked.code, 1);
  assert.match(locked.stderr, /damselfly cache verify: .* in use: .*\[cache-unusable\]/);
  const named = await cli('cache', 'gc', '--admin', '127.0.0.1:9');
  assert.match(named.stderr, /\[node-unreachable\]/);
  writeFileSync(config, `cache: { dir: ${folder.file('nothing')} }\nadmin: { listen: 127.0.0.1:9 }\n`);
  const nothing = await cli('cache', 'gc', '--json');
  assert.equal(nothing.code, 1);
  assert.equal((nothing.json().error as { code: string }).code, 'cache-unusable');
  assert.equal(existsSync(folder.file('nothing')), false);
});

test('the token is sent where one is asked for, and not to the status', async (t) => {
  const folder = await tempFolder(t);
  const token = folder.file('token');
  writeFileSync(token, 'hunter2\n', { mode: 0o600 });
  const { node, cli } = await runningNode(t, [`admin.tokenFile=${token}`]);
  const bare = await cli('blobs');
  assert.equal(bare.code, 1);
  assert.match(bare.stderr, /\[token-required\]/);
  const config = folder.file('with-token.yaml');
  writeFileSync(
    config,
    `admin: { listen: ${JSON.stringify(node.addresses.admin[0])}, tokenFile: ${token} }\n`,
  );
  for (const args of [['blobs'], ['cache', 'rm', short(FIRST)]]) {
    const { code, stderr, stdout } = await runCli([...args, '-c', config]);
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout + stderr, /hunter2/);
  }
});

test('something else at the admin address does not keep the directory from being looked after', async (t) => {
  const { dir, config } = await filledCache(t);
  const other = createServer((socket) => socket.end('220 mail\r\n'));
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const { port } = other.address() as { port: number };
  writeFileSync(config, `cache: { dir: ${dir}, minFree: 0 }\nadmin: { listen: 127.0.0.1:${port} }\n`);
  const { code, stderr, json } = await runCli(['cache', 'verify', '--json', '-c', config]);
  assert.equal(code, 0, stderr);
  assert.deepEqual([json().through, json().blobs], ['directory', 3]);
});

test('the list as a person reads it', () => {
  const line = {
    digest: FIRST.digest,
    size: 60 * 2 ** 20,
    mediaType: null,
    pieces: { present: 3, total: 60 },
    diskBytes: 3 * 2 ** 20,
    proven: false,
    lastReadAt: new Date(1_000_000).toISOString(),
    origins: ['https://registry.example.com'],
    repositories: ['registry.example.com/a', 'registry.example.com/b'],
  };
  const other = { ...line, digest: SECOND.digest, repositories: [] };
  const total = { blobs: 2, diskBytes: 6 * 2 ** 20 };
  assert.deepEqual(blobsText([line, other], total, 1_125_000).split('\n').slice(1), [
    `${short(FIRST)}  60.0 MiB  3/60    3.0 MiB  -        2 min 5 s ago  registry.example.com/a and 1 more`,
    `${short(SECOND)}  60.0 MiB  3/60    3.0 MiB  -        2 min 5 s ago  registry.example.com`,
    '',
    '2 blobs, 6.0 MiB on disk in all',
  ]);
});
