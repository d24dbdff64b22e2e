import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BODY_SLOTS } from '../../src/origin/origin.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { setup } from './support/setup.ts';

it('8.25 X-Dragonfly-Priority: prefetch (3) takes half of the slots of an origin, on-demand reads (6) never wait for it', async (t) => {
  const { origin, node } = await setup(t, { set: ['proxy.headersTimeout=20s'] });
  const repository = origin.repository('lab/priority');
  const blobs = Array.from({ length: BODY_SLOTS + 8 }, (_, seed) => repository.addBlob({ size: 2000, seed }));
  const urgent = repository.addBlob({ size: 2000, seed: 'urgent' });
  const paths = new Set(blobs.map(({ path }) => path));
  const hold = origin.fault({
    match: { where: ({ path }) => paths.has(path) },
    action: { neverAnswer: true },
  });
  const get = (path: string, priority: string) =>
    httpGet(node.url + path, { headers: { Range: 'bytes=0-99', 'X-Dragonfly-Priority': priority } });
  const waiting = blobs.map(({ path }) => get(path, '3'));
  await eventually(() => hold.hits === BODY_SLOTS / 2);
  assert.equal((await get(urgent.path, '6')).status, 206);
  // One of those that wait is wanted now: it takes a slot that prefetch may not.
  const raised = get(blobs.at(-1)?.path ?? '', '6');
  await eventually(() => hold.hits === BODY_SLOTS / 2 + 1);
  assert.equal((await get(urgent.path, '6')).status, 206);
  assert.equal(hold.hits, BODY_SLOTS / 2 + 1);
  origin.clearFaults();
  for (const answer of await Promise.all([...waiting, raised])) assert.equal(answer.status, 206);
});
