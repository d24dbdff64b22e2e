import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { hasCode } from '../../src/errors.ts';
import { makeAuthority } from '../support/authority.ts';
import { openTunnel, tlsInside } from '../support/connect.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';
import { type OriginOptions, seededBytes, selfSigned, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';

interface Inside {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One request on a TLS connection that stays open. */
function ask(
  tls: TLSSocket,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Inside> {
  const { method = 'GET', headers = {} } = options;
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => tls,
      path,
      method,
      headers: { Connection: 'keep-alive', ...headers },
    });
    request.on('error', reject);
    request.on('response', async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
    });
    request.end();
  });
}

/** An https origin whose tunnels a node with a CA of its own opens. */
async function intercepting(
  t: TestContext,
  options: { origin?: OriginOptions; set?: readonly string[] } = {},
) {
  const folder = await tempFolder(t);
  const [certificate, authority] = await Promise.all([selfSigned(), makeAuthority()]);
  const origin = await startOrigin({ ...options.origin, tls: certificate });
  t.after(() => origin.close());
  const write = (name: string, text: string): string => {
    const path = folder.file(name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    return path;
  };
  const ca = write('registry.pem', certificate.cert);
  const set = [
    `origins=${JSON.stringify([{ host: origin.host, ca }])}`,
    `proxy.intercept.hosts=${JSON.stringify([origin.host])}`,
    `proxy.intercept.caCertFile=${write('ca.pem', authority.cert)}`,
    `proxy.intercept.caKeyFile=${write('ca.key', authority.key)}`,
    ...(options.set ?? []),
  ];
  const node = await startNode(folder.file('cache'), set);
  t.after(() => node.stop());
  const open = async (inside: { servername?: string; alpn?: readonly string[] } = {}): Promise<TLSSocket> => {
    const { status, socket } = await openTunnel(node.url, origin.host);
    assert.equal(status, 200);
    const tls = await tlsInside(socket, { ca: authority.cert, ...inside });
    t.after(() => tls.destroy());
    return tls;
  };
  return { folder, origin, node, certificate, authority, open, write };
}

async function metric(node: { readonly addresses: { readonly metrics: readonly string[] } }, line: string) {
  const text = (await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString();
  const found = text.split('\n').find((one) => one.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1) ?? Number.NaN);
}

test('8.4 blobs of an intercepted host are cached, on one kept-alive connection', async (t) => {
  const { origin, node, open } = await intercepting(t);
  const blob = origin.repository('lab/inside').addBlob({ size: 3 << 20, seed: 'inside' });
  const tls = await open();
  assert.equal(tls.authorized, true);
  for (let i = 0; i < 3; i += 1) {
    const answer = await ask(tls, blob.path, { headers: { Range: 'bytes=1000-1999' } });
    assert.equal(answer.status, 206);
    assert.equal(answer.headers['content-range'], `bytes 1000-1999/${3 << 20}`);
    assert.ok(answer.body.equals(seededBytes('inside', { start: 1000, end: 2000 })));
  }
  const whole = await ask(tls, blob.path);
  assert.equal(whole.status, 200);
  assert.ok(whole.body.equals(seededBytes('inside', { start: 0, end: 3 << 20 })));
  const reads = origin.requests.filter(({ path, method }) => path === blob.path && method === 'GET');
  const again = await ask(await open(), blob.path);
  assert.match(String(again.headers['x-damselfly-source']), /memory|disk/);
  assert.equal(
    origin.requests.filter(({ path, method }) => path === blob.path && method === 'GET').length,
    reads.length,
  );
  assert.equal(await metric(node, 'damselfly_tunnels_total{kind="intercepted"}'), 2);
  assert.equal(await metric(node, 'damselfly_tunnels_total{kind="blind"}'), 0);
});

test('the target of the CONNECT is the origin, whatever a request inside says', async (t) => {
  const { origin, open } = await intercepting(t);
  const other = await startOrigin();
  t.after(() => other.close());
  const blob = origin.repository('lab/own').addBlob({ size: 1000, seed: 'own' });
  const strangers = other.repository('lab/other').addBlob({ size: 1000, seed: 'other' });
  const tls = await open();
  const smuggling = { Host: other.host, 'X-Dragonfly-Registry': other.url };
  assert.equal((await ask(tls, blob.path, { headers: smuggling })).status, 200);
  assert.equal((await ask(tls, `${blob.path}?ns=${other.host}`, { headers: smuggling })).status, 200);
  assert.equal((await ask(tls, strangers.path, { headers: smuggling })).status, 404);
  assert.equal((await ask(tls, `/p/${other.url}${strangers.path}`)).status, 404);
  assert.equal((await ask(tls, `${other.url}${strangers.path}`)).status, 400);
  assert.equal((await ask(await open(), `https://${other.host}${strangers.path}`)).status, 400);
  assert.equal((await ask(await open(), `https://${origin.host}${blob.path}`)).status, 200);
  assert.equal(other.requests.length, 0);
});

test("what is a health check outside is the origin's own inside, and no tunnel goes through another", async (t) => {
  const { origin, open } = await intercepting(t, { origin: { auth: 'basic', users: { alice: 'x' } } });
  const tls = await open();
  assert.equal((await ask(tls, '/healthy')).status, 404);
  const base = await ask(tls, '/v2/');
  assert.equal(base.status, 401);
  assert.match(String(base.headers['www-authenticate']), /^Basic /);
  assert.ok(origin.requests.some(({ path }) => path === '/healthy'));
  tls.write(`CONNECT ${origin.host} HTTP/1.1\r\nHost: x\r\n\r\n`);
  const [answer] = (await once(tls, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 405 /);
});

test('rights are those of the requester', async (t) => {
  const { origin, open } = await intercepting(t, {
    origin: { auth: 'basic', users: { alice: 'x', bob: 'y' } },
  });
  const secret = origin
    .repository('lab/secret', { readers: ['alice'] })
    .addBlob({ size: 500, seed: 'secret' });
  const as = (login: string) => ({
    headers: { Authorization: `Basic ${Buffer.from(login).toString('base64')}` },
  });
  assert.equal((await ask(await open(), secret.path, as('alice:x'))).status, 200);
  assert.equal((await ask(await open(), secret.path)).status, 401);
  assert.notEqual((await ask(await open(), secret.path, as('bob:y'))).status, 200);
});

test('the certificate is that of the target, whatever the ClientHello names; HTTP/1.1 is what is spoken', async (t) => {
  const { open } = await intercepting(t);
  for (const servername of ['', 'other.example']) {
    const tls = await open({ servername, alpn: ['h2', 'http/1.1'] });
    assert.equal(tls.alpnProtocol, 'http/1.1');
    assert.equal(tls.getPeerX509Certificate()?.subjectAltName, 'IP Address:127.0.0.1');
  }
});

test('a client that does not trust the CA is counted, and leaves nothing behind', async (t) => {
  const { origin, node, certificate } = await intercepting(t);
  const { socket } = await openTunnel(node.url, origin.host);
  await assert.rejects(tlsInside(socket, { ca: certificate.cert }));
  (await openTunnel(node.url, origin.host)).socket.destroy();
  const garbage = await openTunnel(node.url, origin.host);
  const closed = new Promise((resolve) => garbage.socket.once('close', resolve));
  garbage.socket.resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await closed;
  await eventually(async () => (await metric(node, 'damselfly_intercept_handshake_failures_total')) === 3);
  const startedMs = performance.now();
  await node.stop();
  assert.ok(performance.now() - startedMs < 4_000, 'a connection was left');
});

test('8.4 other hosts are tunnelled blindly', async (t) => {
  const certificate = await selfSigned();
  const stranger = await startOrigin({ tls: certificate });
  t.after(() => stranger.close());
  const { node } = await intercepting(t, { set: [`proxy.defaultOrigin=${stranger.url}`] });
  const { socket } = await openTunnel(node.url, stranger.host);
  const tls = await tlsInside(socket, { ca: certificate.cert });
  assert.equal(tls.authorized, true);
  assert.equal((await ask(tls, '/v2/')).status, 200);
  tls.destroy();
});

test('a stop ends idle intercepted connections at once: used ones, and ones on which nothing came', async (t) => {
  const { node, origin, open } = await intercepting(t);
  const blob = origin.repository('lab/stop').addBlob({ size: 100, seed: 'stop' });
  const used = await open();
  assert.equal((await ask(used, blob.path)).status, 200);
  const unused = await open();
  const closed = [used, unused].map((tls) => new Promise((resolve) => tls.resume().once('close', resolve)));
  const startedMs = performance.now();
  await node.stop();
  await Promise.all(closed);
  assert.ok(performance.now() - startedMs < 4_000, 'the whole grace was waited for');
});

test('inside a TLS listener too', async (t) => {
  const { folder, origin, authority, write } = await intercepting(t);
  const outer = await selfSigned();
  const blob = origin.repository('lab/twice').addBlob({ size: 1000, seed: 'twice' });
  const node = await startNode(folder.file('other-cache'), [
    `proxy.tls.certFile=${write('outer.pem', outer.cert)}`,
    `proxy.tls.keyFile=${write('outer.key', outer.key)}`,
    `origins=${JSON.stringify([{ host: origin.host, ca: folder.file('registry.pem') }])}`,
    `proxy.intercept.hosts=${JSON.stringify([origin.host])}`,
    `proxy.intercept.caCertFile=${folder.file('ca.pem')}`,
    `proxy.intercept.caKeyFile=${folder.file('ca.key')}`,
  ]);
  t.after(() => node.stop());
  const { status, socket } = await openTunnel(`https://127.0.0.1:${node.port}`, origin.host, {
    ca: outer.cert,
  });
  assert.equal(status, 200);
  const tls = await tlsInside(socket, { ca: authority.cert });
  const answer = await ask(tls, blob.path);
  assert.equal(answer.status, 200);
  assert.ok(answer.body.equals(seededBytes('twice', { start: 0, end: 1000 })));
  tls.destroy();
});

test('a CA that cannot sign is refused at start, naming its key', async (t) => {
  const { folder, write } = await intercepting(t);
  const stranger = await makeAuthority();
  const starting = startNode(folder.file('third-cache'), [
    'proxy.intercept.hosts=["registry.example"]',
    `proxy.intercept.caCertFile=${folder.file('ca.pem')}`,
    `proxy.intercept.caKeyFile=${write('stranger.key', stranger.key)}`,
  ]);
  await assert.rejects(starting, (error) => {
    assert.ok(hasCode(error, 'config-invalid'));
    assert.match(error.message, /^proxy\.intercept\.caKeyFile/);
    return true;
  });
});

test('an intercepted host that cannot be reached is an answer, not a reset', async (t) => {
  const gone = await listening(createServer());
  await gone.close();
  const { node, authority } = await intercepting(t, {
    set: [
      `proxy.intercept.hosts=${JSON.stringify([gone.host])}`,
      `origins=${JSON.stringify([{ host: gone.host }])}`,
    ],
  });
  const { status, socket } = await openTunnel(node.url, gone.host);
  assert.equal(status, 200);
  const tls = await tlsInside(socket, { ca: authority.cert });
  assert.equal((await ask(tls, '/v2/a/tags/list')).status, 502);
  tls.destroy();
});
