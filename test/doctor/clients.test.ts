import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkClients } from '../../src/doctor/checks/clients.ts';

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
