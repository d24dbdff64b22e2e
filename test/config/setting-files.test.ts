import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { readSetting, readTlsPair } from '../../config/setting-files.ts';
import { selfSigned } from '../support/origin/certificate.ts';
import { tempFolder } from '../support/temp-folder.ts';

test('a file that cannot be read is named with its key and why', async (t) => {
  const folder = await tempFolder(t);
  assert.throws(() => readSetting('admin.tokenFile', folder.file('none')), {
    code: 'config-invalid',
    message: `admin.tokenFile: ${folder.file('none')} cannot be read (ENOENT); name a file that this user may read`,
  });
  await writeFile(folder.file('token'), 'x\n');
  assert.equal(readSetting('admin.tokenFile', folder.file('token')), 'x\n');
});

test('a certificate and its key are a pair, or both are named', async (t) => {
  const folder = await tempFolder(t);
  const [one, other] = await Promise.all([selfSigned(), selfSigned()]);
  await writeFile(folder.file('one.crt'), one.cert);
  await writeFile(folder.file('one.key'), one.key);
  await writeFile(folder.file('other.key'), other.key);
  const pair = (keyFile: string) =>
    readTlsPair('proxy.tls', { certFile: folder.file('one.crt'), keyFile: folder.file(keyFile) });
  assert.deepEqual(pair('one.key'), { cert: one.cert, key: one.key });
  assert.throws(() => pair('other.key'), {
    code: 'config-invalid',
    message: /^proxy\.tls: \S+one\.crt and \S+other\.key are no PEM certificate and its private key \(/,
  });
  assert.throws(() => pair('missing.key'), { code: 'config-invalid', message: /^proxy\.tls\.keyFile: / });
});
