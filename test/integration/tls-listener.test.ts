import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { hasCode } from '../../src/errors.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet, keepAlive } from '../support/http-get.ts';
import { seededBytes, selfSigned } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';
import { setup } from './support/setup.ts';

const SIZE = (6 << 20) + 5;

async function secured(t: TestContext) {
  const folder = await tempFolder(t);
  const certificate = await selfSigned();
  const files = { certFile: folder.file('tls.crt'), keyFile: folder.file('tls.key') };
  await writeFile(files.certFile, certificate.cert);
  await writeFile(files.keyFile, certificate.key, { mode: 0o600 });
  const { origin, node } = await setup(t, {
    set: [
      `proxy.tls.certFile=${files.certFile}`,
      `proxy.tls.keyFile=${files.keyFile}`,
      'proxy.listeners=[{"listen":"127.0.0.1:0"}]',
    ],
  });
  const [tls, plain] = node.addresses.proxy as [string, string];
  return { folder, files, origin, node, certificate, url: `https://${tls}`, plain };
}

test('blobs over TLS: whole, by ranges, kept alive, cold and warm', async (t) => {
  const { origin, url, certificate } = await secured(t);
  const blob = origin.repository('lab/tls').addBlob({ size: SIZE, seed: 'tls' });
  const agent = keepAlive({ ca: certificate.cert, maxSockets: 1 });
  t.after(() => agent.destroy());
  assert.equal((await httpGet(`${url}/healthy`, { agent: agent.https })).status, 200);
  for (let i = 0; i < 2; i += 1) {
    const whole = await httpGet(url + blob.path, { agent: agent.https });
    assert.equal(whole.status, 200);
    assert.ok(whole.body.equals(seededBytes('tls', { start: 0, end: SIZE })));
    const part = await httpGet(url + blob.path, {
      agent: agent.https,
      headers: { Range: 'bytes=99-1200000' },
    });
    assert.equal(part.status, 206);
    assert.ok(part.body.equals(seededBytes('tls', { start: 99, end: 1_200_001 })));
  }
});

test('HTTP/1.1 is what is spoken, whatever else is offered', async (t) => {
  const { url, certificate } = await secured(t);
  const { port } = new URL(url);
  const socket = connectTls({
    port: Number(port),
    host: '127.0.0.1',
    ca: certificate.cert,
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  t.after(() => socket.destroy());
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  assert.equal(socket.alpnProtocol, 'http/1.1');
});

test('a ClientHello on a plain port is hung up on at once, without a word', async (t) => {
  const { plain } = await secured(t);
  const port = Number(plain.split(':')[1]);
  for (const onUsed of [false, true]) {
    const socket = connectTcp({ port, host: '127.0.0.1' });
    let got = '';
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    if (onUsed) {
      socket.write('GET /ping HTTP/1.1\r\nHost: x\r\n\r\n');
      await eventually(() => got.endsWith('ok\n'));
      got = '';
    }
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const startedMs = performance.now();
    socket.write(Buffer.from('16030100a5010000a10303', 'hex'));
    await closed;
    // podman waits for it with every image.
    assert.ok(performance.now() - startedMs < 1_000);
    assert.equal(got, '');
  }
  await assert.rejects(httpGet(`https://${plain}/v2/`));
  assert.equal((await httpGet(`http://${plain}/ping`)).status, 200);
});

test('handshakes that fail leave nothing that a stop would wait for', async (t) => {
  const { url, node } = await secured(t);
  const { port } = new URL(url);
  // It does not trust the certificate.
  await assert.rejects(httpGet(`${url}/ping`));
  // It speaks no TLS.
  await assert.rejects(httpGet(`http://127.0.0.1:${port}/ping`));
  // Nothing in common.
  const old = connectTls({
    port: Number(port),
    host: '127.0.0.1',
    maxVersion: 'TLSv1.2',
    ciphers: 'AES128-SHA',
    rejectUnauthorized: false,
  });
  await new Promise((resolve) => old.on('error', () => undefined).once('close', resolve));
  const startedMs = performance.now();
  await node.stop();
  assert.ok(performance.now() - startedMs < 4_000, 'a connection was left');
});

test('a stop ends idle TLS connections at once: used ones, and ones on which nothing came', async (t) => {
  const { url, node, certificate } = await secured(t);
  const { port } = new URL(url);
  const open = async () => {
    const socket = connectTls({ port: Number(port), host: '127.0.0.1', ca: certificate.cert });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    return socket.on('error', () => undefined);
  };
  const used = await open();
  used.write('GET /ping HTTP/1.1\r\nHost: x\r\n\r\n');
  await new Promise((resolve) => used.once('data', resolve));
  const unused = await open();
  const closed = [used, unused].map(
    (socket) => new Promise((resolve) => socket.resume().once('close', resolve)),
  );
  const startedMs = performance.now();
  await node.stop();
  await Promise.all(closed);
  assert.ok(performance.now() - startedMs < 4_000, 'the whole grace was waited for');
});

test('a certificate and a key that do not belong together are refused at start, naming their keys', async (t) => {
  const { folder, files } = await secured(t);
  const stranger = folder.file('stranger.key');
  await writeFile(stranger, (await selfSigned()).key, { mode: 0o600 });
  const garbage = folder.file('garbage');
  await writeFile(garbage, 'nothing', { mode: 0o600 });
  for (const [certFile, keyFile] of [
    [files.certFile, stranger],
    [garbage, files.keyFile],
    [files.certFile, garbage],
  ]) {
    await assert.rejects(
      startNode(folder.file('other'), [`proxy.tls.certFile=${certFile}`, `proxy.tls.keyFile=${keyFile}`]),
      (error) => {
        assert.ok(hasCode(error, 'config-invalid'));
        assert.match(error.message, /^proxy\.tls: /);
        return true;
      },
    );
  }
});
