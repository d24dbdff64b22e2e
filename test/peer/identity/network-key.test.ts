import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { preSharedKey } from '@libp2p/pnet';
import { generateKeyFile, NetworkKey } from '../../../peer/identity/network-key.ts';
import { parseKeyFile } from '../../../peer/identity/network-key-file.ts';
import { NetworkKeys, NetworkKeyWatch } from '../../../peer/identity/network-keys.ts';
import { hasCode } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const secretOf = (block: string): string => block.split('\n')[2] ?? '';

describe('a network key file', () => {
  it('is what keygen prints, and what libp2p takes', () => {
    const text = generateKeyFile();
    assert.match(text, /^\/key\/swarm\/psk\/1\.0\.0\/\n\/base16\/\n[0-9a-f]{64}\n$/);
    const [key, ...more] = parseKeyFile('f', text);
    assert.equal(key?.toBlock(), text);
    assert.equal(more.length, 0);
    assert.doesNotThrow(() => preSharedKey({ psk: Buffer.from(text) }));
    assert.notEqual(generateKeyFile(), text);
  });

  it('may hold several keys, in any line ends, each counted once', () => {
    const [a, b] = [generateKeyFile(), generateKeyFile()];
    const keys = parseKeyFile(
      'f',
      `\n${a}\n${b.replaceAll('\n', '\r\n')}${a.toUpperCase().replace(/\/.*\/\n\/.*\/\n/, '/key/swarm/psk/1.0.0/\n/base16/\n')}`,
    );
    assert.deepEqual(
      keys.map((key) => key.toBlock()),
      [a, b],
    );
  });

  it('that is wrong is refused by its name and the remedy, and never quoted', () => {
    const good = generateKeyFile();
    const secret = secretOf(good);
    const wrong = [
      '',
      '\n\n',
      secret,
      good.replace('1.0.0', '2.0.0'),
      good.replace('/base16/', '/base64/'),
      good.replace('/base16/\n', ''),
      good.replace(secret, secret.slice(1)),
      good.replace(secret, `${secret}00`),
      good.replace(secret, `g${secret.slice(1)}`),
      `${good}${good.split('\n').slice(0, 2).join('\n')}`,
      Array.from({ length: 9 }, generateKeyFile).join(''),
      'x'.repeat(70_000),
    ];
    for (const text of wrong) {
      assert.throws(
        () => parseKeyFile('/etc/network.key', text),
        (error) =>
          hasCode(error, 'network-key-invalid') &&
          error.message.includes('/etc/network.key') &&
          error.message.includes('peers keygen') &&
          !error.message.includes(secret.slice(1)),
        text.slice(0, 80),
      );
    }
  });
});

describe('a network key', () => {
  it('is not printed', () => {
    const key = NetworkKey.generate();
    const secret = secretOf(key.toBlock());
    for (const text of [
      String(key),
      JSON.stringify({ key }),
      inspect({ key }, { depth: 9, showHidden: true }),
    ])
      assert.ok(!text.includes(secret) && text.includes(key.fingerprint), text);
    assert.ok(!secret.includes(key.fingerprint));
  });

  it('of an insecure network is the same everywhere', () => {
    assert.ok(NetworkKeys.insecure().first.equals(NetworkKeys.insecure().first));
  });
});

describe('the keys of a running node', () => {
  it('follow their file, and outlive a file that is gone or wrong', async (t) => {
    const folder = await tempFolder(t);
    const path = folder.file('network.key');
    const [a, b] = [generateKeyFile(), generateKeyFile()];
    await writeFile(path, a);
    const keys = await NetworkKeys.load(path);
    const watch = new NetworkKeyWatch({ path, keys, log: silentLogger });
    let changes = 0;
    keys.onChange(() => changes++);
    const blocks = (): string[] => keys.accepted.map((key) => key.toBlock());

    await watch.look();
    assert.equal(changes, 0);
    await writeFile(path, b + a);
    await watch.look();
    assert.deepEqual([changes, blocks()], [1, [b, a]]);
    await writeFile(path, a + b);
    await watch.look();
    assert.equal(keys.first.toBlock(), a, 'the order counts');
    await writeFile(path, 'half a fi');
    await watch.look();
    await rm(path);
    await watch.look();
    assert.deepEqual([changes, blocks()], [2, [a, b]]);
    await writeFile(path, b);
    await watch.look();
    assert.deepEqual([changes, blocks()], [3, [b]]);
    watch.stop();
    await writeFile(path, a);
    await watch.look();
    assert.equal(changes, 3);
  });

  it('are looked at again by a timer', async (t) => {
    const folder = await tempFolder(t);
    const path = folder.file('network.key');
    await writeFile(path, generateKeyFile());
    const keys = await NetworkKeys.load(path);
    const changed = Promise.withResolvers<void>();
    keys.onChange(changed.resolve);
    const watch = new NetworkKeyWatch({ path, keys, log: silentLogger, pollMs: 1 });
    watch.start();
    const guard = setInterval(() => undefined, 1000);
    try {
      await writeFile(path, generateKeyFile());
      await changed.promise;
    } finally {
      clearInterval(guard);
      watch.stop();
    }
  });

  it('that cannot be read at start are an error', async (t) => {
    const folder = await tempFolder(t);
    await assert.rejects(NetworkKeys.load(folder.file('absent')), (error) =>
      hasCode(error, 'network-key-invalid'),
    );
  });
});
