import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkClients } from '../../src/doctor/checks/clients.ts';
import { clientFiles } from '../../src/doctor/host/client-files.ts';
import { programVersion } from '../../src/doctor/host/program-version.ts';
import { tempFolder } from '../support/temp-folder.ts';

const { signal } = new AbortController();

test('clients that are configured are judged, and one that cannot be does not hide the others', async () => {
  const found = await checkClients(
    {
      clients: [
        { name: 'absent', judge: async () => [] },
        {
          name: 'well',
          judge: async () => [{ verdict: 'ok', path: '/etc/w', message: 'leads here', remedy: undefined }],
        },
        {
          name: 'astray',
          judge: async () => [
            { verdict: 'warning', path: '/etc/a', message: 'leads nowhere', remedy: 'Mend it' },
          ],
        },
        {
          name: 'broken',
          judge: () => {
            throw new Error('/etc/b:3 is no TOML');
          },
        },
      ],
    },
    signal,
  );
  assert.deepEqual(
    found.map(({ verdict, subject, what }) => [verdict, subject, what]),
    [
      ['ok', 'well /etc/w', 'leads here'],
      ['warning', 'astray /etc/a', 'leads nowhere'],
      ['failed', 'broken', 'its configuration cannot be judged: /etc/b:3 is no TOML'],
    ],
  );
  assert.ok(found[2]?.remedy?.includes('damselfly setup'));
});

test('a host without clients is told so', async () => {
  const found = await checkClients({ clients: [{ name: 'absent', judge: async () => [] }] }, signal);
  assert.deepEqual(
    found.map(({ verdict }) => verdict),
    ['skipped'],
  );
});

test('files are read below the root, and what is no text says so', async (t) => {
  const folder = await tempFolder(t);
  mkdirSync(folder.file('etc', 'client'), { recursive: true });
  writeFileSync(folder.file('etc', 'client', 'b.toml'), 'b = 1\n');
  writeFileSync(folder.file('etc', 'client', 'a.toml'), Buffer.from([0xff, 0xfe, 0x00]));
  const files = clientFiles(folder.path);
  assert.equal(files.read('/etc/client/b.toml'), 'b = 1\n');
  assert.equal(files.read('/etc/client/none.toml'), undefined);
  assert.equal(files.read('/etc/client/b.toml/under'), undefined);
  assert.throws(() => files.read('/etc/client/a.toml'), /\/etc\/client\/a\.toml is no text file/);
  assert.throws(() => files.read('/etc/client'), /is no configuration file/);
  assert.deepEqual(files.list('/etc/client'), ['a.toml', 'b.toml']);
  assert.deepEqual(files.list('/etc/nothing'), []);
});

test("a program's version is the first that it tells; one that is not there has none", async () => {
  assert.equal(await programVersion(process.execPath, signal), process.versions.node);
  assert.equal(await programVersion('/nonexistent/program', signal), undefined);
});
