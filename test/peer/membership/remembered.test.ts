import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import {
  Memory,
  NOTHING_REMEMBERED,
  nextEpoch,
  REMEMBERED_FILE,
  readRemembered,
  writeRemembered,
} from '../../../peer/membership/remembered.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { tempFolder } from '../../support/temp-folder.ts';

describe('what a node remembers of the swarm', () => {
  it('comes back after a restart, bounded, with nothing else left in the folder', async (t) => {
    const folder = await tempFolder(t);
    const addresses = Array.from({ length: 100 }, (_, i) => `/ip4/10.0.0.${i}/tcp/4006`);
    await writeRemembered(folder.path, { epoch: 7, addresses });
    assert.deepEqual(await readRemembered(folder.path), { epoch: 7, addresses: addresses.slice(0, 64) });
    assert.deepEqual(await readdir(folder.path), [REMEMBERED_FILE]);
  });

  it('is written when it changes, and lasts when everybody is out of sight', async (t) => {
    const folder = await tempFolder(t);
    const memory = new Memory(folder.path, NOTHING_REMEMBERED, silentLogger);
    const member = (...control: string[]) => ({ control });
    await memory.keep(5, [member('/ip4/10.0.0.1/tcp/4006', '/ip4/10.0.0.9/tcp/4006'), member()]);
    const kept = { epoch: 5, addresses: ['/ip4/10.0.0.1/tcp/4006'] };
    assert.deepEqual(await readRemembered(folder.path), kept);
    await memory.keep(5, []);
    assert.deepEqual(memory.addresses, kept.addresses);
    await rm(folder.file(REMEMBERED_FILE));
    await memory.keep(5, [member('/ip4/10.0.0.1/tcp/4006')]);
    assert.deepEqual(await readdir(folder.path), [], 'nothing new, nothing written');
    await memory.keep(6, []);
    assert.deepEqual(await readRemembered(folder.path), { ...kept, epoch: 6 });
  });

  it('costs nothing when it cannot be written, or is kept nowhere', async (t) => {
    const folder = await tempFolder(t);
    const memory = new Memory(folder.file('none'), NOTHING_REMEMBERED, silentLogger);
    await memory.keep(5, [{ control: ['/ip4/10.0.0.1/tcp/4006'] }]);
    assert.deepEqual(memory.addresses, []);
    await new Memory(undefined, NOTHING_REMEMBERED, silentLogger).keep(5, []);
  });

  it('is nothing when the file is missing, damaged, too long or of another format', async (t) => {
    const folder = await tempFolder(t);
    assert.deepEqual(await readRemembered(folder.path), NOTHING_REMEMBERED);
    for (const text of [
      '',
      '{',
      'null',
      '{"format":2,"epoch":1,"addresses":[]}',
      '{"format":1,"epoch":"x","addresses":[]}',
      ' '.repeat(70_000),
    ]) {
      await writeFile(folder.file(REMEMBERED_FILE), text);
      assert.deepEqual(await readRemembered(folder.path), NOTHING_REMEMBERED, text.slice(0, 50));
    }
    await writeFile(
      folder.file(REMEMBERED_FILE),
      '{"format":1,"epoch":3,"addresses":["/ip4/10.0.0.1/tcp/1",7,"x"]}',
    );
    assert.deepEqual(await readRemembered(folder.path), { epoch: 3, addresses: ['/ip4/10.0.0.1/tcp/1'] });
  });

  it('makes epochs grow, also when the clock goes back', () => {
    assert.equal(nextEpoch({ epoch: 0, addresses: [] }, 1_700_000_000_000.5), 1_700_000_000_000);
    assert.equal(nextEpoch({ epoch: 1_700_000_000_000, addresses: [] }, 5), 1_700_000_000_001);
  });
});
