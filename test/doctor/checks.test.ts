import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import type { Found, Verdict } from '../../src/doctor/check.ts';
import { checkConfig } from '../../src/doctor/checks/config.ts';
import { checkDisk, type DiskWorld, type FileSystem } from '../../src/doctor/checks/disk.ts';
import { checkKeyFiles } from '../../src/doctor/checks/key-files.ts';
import { checkMemory, checkOpenFiles } from '../../src/doctor/checks/limits.ts';
import { checkLock } from '../../src/doctor/checks/lock.ts';
import { checkNode, type NodeWorld } from '../../src/doctor/checks/node.ts';
import { checkRuntime } from '../../src/doctor/checks/runtime.ts';
import type { SystemFiles } from '../../src/doctor/host/files.ts';
import { listeners, lockHolder } from '../../src/doctor/host/processes.ts';
import type { RunningNode } from '../../src/doctor/running-node.ts';

const { signal } = new AbortController();
const GIB = 2 ** 30;
const bytes = (n: number): string => `${n / GIB}G`;
const verdicts = (found: readonly Found[]): Verdict[] => found.map(({ verdict }) => verdict);

/** Whatever is to be mended says how. */
function mendable(found: readonly Found[]): readonly Found[] {
  for (const { verdict, remedy, what } of found)
    assert.equal(remedy !== undefined, verdict === 'warning' || verdict === 'failed', what);
  return found;
}

function nodeWith(over: Partial<StatusDocument> = {}): RunningNode {
  const status = {
    version: '1.0.0',
    health: { healthy: true, since: '', reasons: [] },
    listen: { proxy: ['0.0.0.0:4001', 'unix:/run/d.sock'], admin: ['127.0.0.1:4003'], metrics: [] },
    cache: { dir: '/cache', degraded: null, usedBytes: 0 },
    warnings: [],
    ...over,
  } as unknown as StatusDocument;
  return { kind: 'node', status };
}

const NONE: RunningNode = { kind: 'none', reason: 'connection refused' };

function nodeWorld(node: RunningNode, over: Partial<NodeWorld> = {}): NodeWorld {
  return {
    node: Promise.resolve(node),
    known: ['told already'],
    version: '1.0.0',
    admin: '127.0.0.1:4003',
    proxy: '127.0.0.1:4001',
    metrics: '127.0.0.1:4002',
    get: async (url) => ({ status: 200, body: url.endsWith('/healthy') ? 'ok\n' : 'damselfly_info 1\n' }),
    ...over,
  };
}

test('node: well, not there, another, unwell, degraded, older, with ports that are not its own', async () => {
  assert.deepEqual(verdicts(mendable(await checkNode(nodeWorld(nodeWith()), signal))), ['ok', 'ok', 'ok']);
  assert.deepEqual(verdicts(mendable(await checkNode(nodeWorld(NONE), signal))), ['warning']);
  assert.deepEqual(verdicts(mendable(await checkNode(nodeWorld({ kind: 'other' }), signal))), ['failed']);
  const unwell = nodeWith({ health: { healthy: false, since: '', reasons: ['the loop is late'] } });
  const [first] = mendable(await checkNode(nodeWorld(unwell), signal));
  assert.match(first?.what ?? '', /not healthy: the loop is late/);
  assert.equal(first?.verdict, 'failed');
  const cache = { dir: '/cache', degraded: 'disk-full' } as StatusDocument['cache'];
  const worn = nodeWith({ cache, version: '0.9.0', warnings: ['told already', 'new'] });
  assert.deepEqual(verdicts(mendable(await checkNode(nodeWorld(worn), signal))), [
    'warning',
    'failed',
    'warning',
    'ok',
    'ok',
  ]);
  const foreign = nodeWorld(nodeWith(), { get: async () => ({ status: 200, body: '<html>' }) });
  assert.deepEqual(verdicts(mendable(await checkNode(foreign, signal))), ['ok', 'failed', 'failed']);
  const silent = nodeWorld(nodeWith(), {
    metrics: undefined,
    get: async () => {
      throw new Error('refused');
    },
  });
  assert.deepEqual(verdicts(mendable(await checkNode(silent, signal))), ['ok', 'failed', 'skipped']);
  const stopping = nodeWorld(nodeWith(), {
    metrics: undefined,
    get: async () => ({ status: 503, body: 'not ready\n' }),
  });
  assert.deepEqual(verdicts(await checkNode(stopping, signal)), ['ok', 'ok', 'skipped']);
});

const ROOMY: FileSystem = {
  type: 0xef53,
  blockBytes: 4096,
  blocks: (100 * GIB) / 4096,
  freeBlocks: (80 * GIB) / 4096,
  files: 1_000_000,
  freeFiles: 900_000,
};

function diskWorld(over: Partial<DiskWorld> = {}, system: Partial<FileSystem> = {}): DiskWorld {
  return {
    dir: '/data/cache',
    maxBytes: 64 * GIB,
    minFreeBytes: GIB,
    usedBytes: Promise.resolve(undefined),
    kindOf: async () => 'folder',
    writable: async () => null,
    fileSystem: async () => ({ ...ROOMY, ...system }),
    formatBytes: bytes,
    ...over,
  };
}

async function diskVerdicts(over: Partial<DiskWorld>, system: Partial<FileSystem> = {}): Promise<Verdict[]> {
  return verdicts(mendable(await checkDisk(diskWorld(over, system))));
}

test('disk: there, to be created, no folder, not ours, read-only', async () => {
  assert.deepEqual(await diskVerdicts({}), ['ok', 'ok', 'ok']);
  const asked: string[] = [];
  const created = await checkDisk(
    diskWorld({
      kindOf: async (path) => (path === '/' ? 'folder' : 'ENOENT'),
      writable: async (path) => {
        asked.push(path);
        return 'EACCES';
      },
    }),
  );
  assert.deepEqual(asked, ['/']);
  assert.match(created[0]?.what ?? '', /may not create it in \/ \(EACCES\)/);
  assert.deepEqual(await diskVerdicts({ kindOf: async () => 'other' }), ['failed']);
  assert.deepEqual(await diskVerdicts({ kindOf: async () => 'EACCES' }), ['failed']);
  const readOnly = await checkDisk(diskWorld({ writable: async () => 'EROFS' }));
  assert.match(readOnly[0]?.what ?? '', /read-only/);
});

test('disk: file systems that do not fit, space and inodes at each bound', async () => {
  for (const [type, name] of [
    [0x01021994, /tmpfs/],
    [0x858458f6, /ramfs/],
    [0x6969, /NFS/],
    [0xff534d42, /SMB/],
    [0xfe534d42, /SMB/],
    [0x01021997, /9p/],
    [0x794c7630, /overlayfs/],
    [0x65735546, /FUSE/],
  ] as const) {
    const found = mendable(await checkDisk(diskWorld({}, { type })));
    assert.equal(found[1]?.verdict, 'warning');
    assert.match(found[1]?.what ?? '', name);
  }
  const free = (gib: number) => ({ freeBlocks: (gib * GIB) / 4096 });
  assert.deepEqual(await diskVerdicts({}, free(1)), ['ok', 'failed', 'ok']);
  assert.deepEqual(await diskVerdicts({ usedBytes: Promise.resolve(5 * GIB) }, free(1)), [
    'ok',
    'warning',
    'ok',
  ]);
  assert.deepEqual(await diskVerdicts({}, free(64)), ['ok', 'warning', 'ok']);
  assert.deepEqual(await diskVerdicts({}, free(65)), ['ok', 'ok', 'ok']);
  // What the cache has already is room that it has.
  assert.deepEqual(await diskVerdicts({ usedBytes: Promise.resolve(60 * GIB) }, free(5)), ['ok', 'ok', 'ok']);
  assert.deepEqual(await diskVerdicts({}, { freeFiles: 63 }), ['ok', 'ok', 'failed']);
  assert.deepEqual(await diskVerdicts({}, { freeFiles: 4_095 }), ['ok', 'ok', 'warning']);
  assert.deepEqual(await diskVerdicts({}, { freeFiles: 4_096 }), ['ok', 'ok', 'ok']);
  assert.deepEqual(await diskVerdicts({}, { files: 0, freeFiles: 0 }), ['ok', 'ok']);
});

test('lock: unused, free, the running node, somebody else, not told', async () => {
  const world = (
    inode: number | undefined,
    holder: { pid: number; command: string } | null | undefined,
    node: RunningNode = NONE,
  ) =>
    checkLock({
      dir: '/cache',
      node: Promise.resolve(node),
      lockInode: async () => inode,
      lockHolder: async () => holder,
    });
  const owner = { pid: 42, command: 'node' };
  assert.deepEqual(verdicts(await world(undefined, null)), ['ok']);
  assert.deepEqual(verdicts(await world(7, null)), ['ok']);
  assert.deepEqual(verdicts(await world(7, undefined)), ['skipped']);
  assert.match((await world(7, owner, nodeWith()))[0]?.what ?? '', /running node uses it \(pid 42\)/);
  for (const node of [NONE, nodeWith({ cache: { dir: '/other' } as StatusDocument['cache'] })]) {
    const [found] = mendable(await world(7, owner, node));
    assert.equal(found?.verdict, 'failed');
    assert.match(found?.what ?? '', /node \(pid 42\) uses it/);
  }
});

test('open files, memory and runtime: enough, and not', async () => {
  const limits = async (text: string | undefined) =>
    verdicts(mendable(await checkOpenFiles({ limits: Promise.resolve({ whose: 'x', text }) })));
  const line = (soft: string, hard: string) =>
    `Limit\nMax open files            ${soft}                 ${hard}   files\n`;
  assert.deepEqual(await limits(line('1024', '4096')), ['ok']);
  assert.deepEqual(await limits(line('1024', 'unlimited')), ['ok']);
  assert.deepEqual(await limits(line('1024', '4095')), ['warning']);
  assert.deepEqual(await limits(undefined), ['skipped']);
  const memory = async (limitBytes: number) =>
    verdicts(
      mendable(await checkMemory({ limitBytes, isOfCgroup: true, memoryBytes: GIB, formatBytes: bytes })),
    );
  assert.deepEqual(await memory(1.25 * GIB), ['ok']);
  assert.deepEqual(await memory(1.25 * GIB - 1), ['warning']);
  const runtime = async (nodeVersion: string, threads: string | undefined, sendfile: boolean) =>
    verdicts(mendable(await checkRuntime({ nodeVersion, threads, hasSendfile: async () => sendfile })));
  assert.deepEqual(await runtime('24.1.0', '16', true), ['ok', 'ok', 'ok']);
  assert.deepEqual(await runtime('22.19.0', '4', false), ['warning', 'warning', 'warning']);
  assert.deepEqual(await runtime('25.0.0', undefined, true), ['ok', 'warning', 'ok']);
});

test('files: readable and private, readable by others, missing, not ours', async () => {
  const file = async (mode: number | string, over: { isSecret?: boolean; mayBeMissing?: boolean } = {}) =>
    verdicts(
      mendable(
        await checkKeyFiles({
          files: [{ key: 'k', path: '/k', isSecret: true, mayBeMissing: false, ...over }],
          modeOf: async () => mode,
        }),
      ),
    );
  assert.deepEqual(await file(0o100600), ['ok']);
  assert.deepEqual(await file(0o100640), ['ok']);
  assert.deepEqual(await file(0o100644), ['warning']);
  assert.deepEqual(await file(0o100644, { isSecret: false }), ['ok']);
  assert.deepEqual(await file('ENOENT'), ['failed']);
  assert.deepEqual(await file('ENOENT', { mayBeMissing: true }), ['warning']);
  assert.deepEqual(await file('EACCES'), ['failed']);
  assert.deepEqual(verdicts(await checkKeyFiles({ files: [], modeOf: async () => 0 })), ['skipped']);
});

test('config: understood, with warnings, refused', async () => {
  const config = async (warnings: string[], problems: string[]) =>
    verdicts(mendable(await checkConfig({ file: '/etc/d.yaml', warnings, problems })));
  assert.deepEqual(await config([], []), ['ok']);
  assert.deepEqual(await config(['a word'], []), ['ok', 'warning']);
  assert.deepEqual(await config([], ['a.b: is 1', 'c: is 2']), ['failed', 'failed']);
});

/** A /proc of its own. */
function proc(files: Record<string, string>, lists: Record<string, string[]> = {}): SystemFiles {
  return {
    read: async (path) => files[path],
    list: async (path) => lists[path] ?? [],
    link: async (path) => files[path],
  };
}

test('who listens and who holds a lock is read from /proc, as far as it tells', async () => {
  const head = '  sl  local_address rem_address   st tx rx tr tm->when retrnsmt   uid  timeout inode\n';
  const row = (local: string, state: string, inode: number) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0\n`;
  const files = proc(
    {
      '/proc/net/tcp': head + row('0100007F:0FA1', '0A', 111) + row('0100007F:0FA2', '01', 222),
      '/proc/net/tcp6': head + row('00000000000000000000000000000000:0FA3', '0A', 333),
      '/proc/10/fd/3': 'socket:[999]',
      '/proc/20/fd/5': 'socket:[111]',
      '/proc/20/comm': 'nginx\n',
      '/proc/locks':
        '1: POSIX  ADVISORY  WRITE 20 fd:01:5678 0 EOF\n2: FLOCK  ADVISORY  WRITE 10 fd:01:99 0 EOF\n',
    },
    { '/proc': ['10', '20', 'self'], '/proc/10/fd': ['3'], '/proc/20/fd': ['4', '5'] },
  );
  const found = await listeners(files, new Set([4001, 4002, 4003]), signal);
  assert.deepEqual([...found], [[4001, { pid: 20, command: 'nginx' }]]);
  assert.deepEqual(await lockHolder(files, 5678), { pid: 20, command: 'nginx' });
  assert.deepEqual(await lockHolder(files, 99), { pid: 10, command: 'a process' });
  assert.equal(await lockHolder(files, 1), null);
  assert.equal(await lockHolder(proc({}), 1), undefined);
  assert.equal((await listeners(proc({}), new Set([4001]), signal)).size, 0);
});
