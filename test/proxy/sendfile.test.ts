import assert from 'node:assert/strict';
import { it } from 'node:test';
import { loadSendfile } from '../../src/proxy/sendfile.ts';

it('sendfile passes its self-check on Linux, where CI and every node run', async () => {
  const sendfile = await loadSendfile();
  assert.equal(sendfile !== null, process.platform === 'linux');
});

it('sendfile reports a bad descriptor by its number', { skip: process.platform !== 'linux' }, async () => {
  const sendfile = await loadSendfile();
  assert.equal(sendfile?.(-1, -1, 0, 1), -9);
});
