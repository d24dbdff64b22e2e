import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { httpGet } from '../support/http-get.ts';
import { seededBytes } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';
import { setup } from './support/setup.ts';

const SIZE = (5 << 20) + 17;

async function onSocket(t: TestContext) {
  const folder = await tempFolder(t);
  const socketPath = folder.file('proxy.sock');
  const { origin, node } = await setup(t, {
    set: [`proxy.listen=${JSON.stringify([`unix:${socketPath}`, '127.0.0.1:0'])}`],
  });
  const blob = origin.repository('lab/unix').addBlob({ size: SIZE, seed: 'unix' });
  return { folder, socketPath, origin, node, blob };
}

test('proxy.listen: unix:/path serves as TCP does, cold and warm, whole and by ranges', async (t) => {
  const { socketPath, node, blob } = await onSocket(t);
  assert.deepEqual(node.addresses.proxy[0], `unix:${socketPath}`);
  assert.ok(lstatSync(socketPath).isSocket());
  assert.equal((await httpGet('http://localhost/healthy', { socketPath })).status, 200);
  for (let i = 0; i < 2; i += 1) {
    const part = await httpGet(`http://localhost${blob.path}`, {
      socketPath,
      headers: { Range: 'bytes=1000000-3000000' },
    });
    assert.equal(part.status, 206);
    assert.ok(part.body.equals(seededBytes('unix', { start: 1_000_000, end: 3_000_001 })));
    const whole = await httpGet(`http://localhost${blob.path}`, { socketPath });
    assert.equal(whole.status, 200);
    assert.ok(whole.body.equals(seededBytes('unix', { start: 0, end: SIZE })));
  }
});

test('a stop removes the file, and a stopped node can be started on it again', async (t) => {
  const { folder, socketPath, node } = await onSocket(t);
  await node.stop();
  assert.equal(existsSync(socketPath), false);
  const again = await startNode(folder.file('again'), [`proxy.listen=unix:${socketPath}`]);
  t.after(() => again.stop());
  assert.equal((await httpGet('http://localhost/ping', { socketPath })).status, 200);
});

test('the file of a node that was killed is taken over; one that is listened on, and a plain file, are not', async (t) => {
  const folder = await tempFolder(t);
  const socketPath = folder.file('stale.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => console.log('up'))`;
  const killed = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(killed.stdout, 'data');
  killed.kill('SIGKILL');
  await once(killed, 'close');
  assert.ok(lstatSync(socketPath).isSocket());
  const node = await startNode(folder.file('cache'), [`proxy.listen=unix:${socketPath}`]);
  t.after(() => node.stop());
  assert.equal((await httpGet('http://localhost/ping', { socketPath })).status, 200);
  await assert.rejects(startNode(folder.file('second'), [`proxy.listen=unix:${socketPath}`]), (error) =>
    hasCode(error, 'listen-failed'),
  );
  assert.equal((await httpGet('http://localhost/ping', { socketPath })).status, 200);
});

test('a body that turns out wrong is cut short of its length', async (t) => {
  const { socketPath, origin, blob } = await onSocket(t);
  origin.fault({ match: { path: blob.path, method: 'GET' }, action: { flipAtOffset: 4_000_000 } });
  const answer = await httpGet(`http://localhost${blob.path}`, { socketPath });
  assert.equal(answer.status, 200);
  assert.equal(answer.complete, false);
});
