import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { setup } from './support/setup.ts';

/** Holds the loop up, past the second from which a probe is bad, and lets the probe notice. */
async function stick(): Promise<void> {
  const untilMs = performance.now() + 1_500;
  while (performance.now() < untilMs);
  for (let i = 0; i < 3; i += 1) await setImmediate();
}

it('8.5 one stuck moment does not turn a node bad, several in a row do, and it comes back', async (t) => {
  const { node } = await setup(t);
  const ports = [
    `${node.url}/healthy`,
    `${node.url}/server/ping`,
    `http://${node.addresses.admin[0]}/healthy`,
  ];
  const statuses = () => Promise.all(ports.map(async (url) => (await httpGet(url)).status));
  const metric = async (): Promise<string | undefined> =>
    /^damselfly_healthy (\d)$/m.exec(
      (await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString(),
    )?.[1];
  assert.deepEqual(await statuses(), [200, 200, 200]);
  await stick();
  assert.deepEqual(await statuses(), [200, 200, 200]);
  for (let i = 0; i < 3; i += 1) await stick();
  assert.deepEqual(await statuses(), [503, 503, 503]);
  await eventually(async () => (await metric()) === '1');
  assert.deepEqual(await statuses(), [200, 200, 200]);
});
