import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { Identity } from '../../../peer/identity/identity.ts';
import { loadIdentity } from '../../../peer/identity/identity-file.ts';
import { parsePeerId, peerIdOf, publicKeyOf } from '../../../peer/identity/peer-id.ts';
import { verifySignature } from '../../../peer/identity/signature.ts';
import type { PeerId } from '../../../peer/member.ts';
import { hasCode } from '../../../src/errors.ts';
import { tempFolder } from '../../support/temp-folder.ts';

describe('an identity', () => {
  it('has the name that libp2p gives its key', () => {
    const identity = Identity.generate();
    assert.equal(peerIdFromPrivateKey(identity.libp2pKey()).toString(), identity.id);
    assert.match(identity.id, /^12D3KooW/);
  });

  it('signs what its name verifies, and nothing else', () => {
    const [one, other] = [Identity.generate(), Identity.generate()];
    const bytes = Buffer.from('statement');
    const signature = one.sign(bytes);
    assert.equal(signature.length, 64);
    assert.equal(verifySignature(one.id, bytes, signature), true);
    assert.equal(verifySignature(one.id, bytes, signature), true, 'again, with the key that was kept');
    assert.equal(verifySignature(other.id, bytes, signature), false);
    assert.equal(verifySignature(one.id, Buffer.from('Statement'), signature), false);
    assert.equal(verifySignature(one.id, bytes, signature.subarray(1)), false);
    assert.equal(verifySignature('nonsense' as PeerId, bytes, signature), false);
  });

  it('is not printed with its key', () => {
    const identity = Identity.generate();
    assert.equal(JSON.stringify({ identity }), JSON.stringify({ identity: identity.id }));
  });
});

describe('a peer id', () => {
  it('gives back the public key that it was made of', () => {
    const raw = publicKeyOf(Identity.generate().id);
    assert.equal(raw?.length, 32);
    assert.deepEqual(publicKeyOf(peerIdOf(raw)), raw);
  });

  it('is one only in the spelling of an Ed25519 key', () => {
    const { id } = Identity.generate();
    assert.equal(parsePeerId(id), id);
    // An RSA one, a CID of a right one, damaged ones.
    for (const text of [
      'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
      `${id}1`,
      id.slice(1),
      '',
      'é',
      'x'.repeat(1e5),
    ])
      assert.equal(parsePeerId(text), null, text.slice(0, 60));
  });
});

describe('the identity file', () => {
  it('is made once, for its owner alone, and read again', async (t) => {
    const folder = await tempFolder(t);
    const first = await loadIdentity(folder.path);
    assert.equal((await stat(folder.file('identity.key'))).mode & 0o777, 0o600);
    assert.equal((await loadIdentity(folder.path)).id, first.id);
  });

  it('is made over what a crash left of an earlier try', async (t) => {
    const folder = await tempFolder(t);
    await writeFile(folder.file('identity.key.new'), 'half a k', { mode: 0o644 });
    const { id } = await loadIdentity(folder.path);
    assert.equal((await stat(folder.file('identity.key'))).mode & 0o777, 0o600);
    assert.equal((await loadIdentity(folder.path)).id, id);
  });

  it('that is damaged is an error with a remedy, and is left as it is', async (t) => {
    const folder = await tempFolder(t);
    await loadIdentity(folder.path);
    const path = folder.file('identity.key');
    const whole = await readFile(path, 'utf8');
    for (const text of ['', 'nonsense', whole.slice(0, whole.length / 2)]) {
      await writeFile(path, text);
      await assert.rejects(
        loadIdentity(folder.path),
        (error) =>
          hasCode(error, 'identity-unusable') &&
          error.message.includes(path) &&
          /remove it/.test(error.message),
      );
      assert.equal(await readFile(path, 'utf8'), text);
    }
  });

  it('that cannot be read or made is an error of its own', async (t) => {
    const folder = await tempFolder(t);
    await mkdir(folder.file('identity.key'));
    await assert.rejects(loadIdentity(folder.path), (error) => hasCode(error, 'identity-unusable'));
    await assert.rejects(loadIdentity(folder.file('absent')), (error) => hasCode(error, 'identity-unusable'));
    await chmod(folder.path, 0o700);
  });
});
