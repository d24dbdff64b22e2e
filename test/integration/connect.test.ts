import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { createConnection, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { openTunnel, tlsInside } from '../support/connect.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';
import { seededBytes, selfSigned, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';

const ESTABLISHED = 'HTTP/1.1 200 Connection Established';

/** A TCP server that does what `onSocket` says, and a node that lists it. */
async function tunnelled(
  t: TestContext,
  onSocket: (socket: Socket) => void,
  set: (address: string) => readonly string[] = () => [],
) {
  const folder = await tempFolder(t);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  const target = await listening(server);
  t.after(() => target[Symbol.asyncDispose]());
  const address = `127.0.0.1:${target.port}`;
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify([{ host: address }])}`,
    ...set(address),
  ]);
  t.after(() => node.stop());
  return { node, address };
}

async function metric(node: { readonly addresses: { readonly metrics: readonly string[] } }, line: string) {
  const text = (await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString();
  const found = text.split('\n').find((one) => one.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1) ?? Number.NaN);
}

async function bodyOf(socket: Socket, head: Buffer): Promise<string> {
  const chunks = [head];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(chunks).toString('utf8');
}

test('8.4 a blind tunnel: TLS with the origin itself, and nothing of it is cached', async (t) => {
  const folder = await tempFolder(t);
  const certificate = await selfSigned();
  const origin = await startOrigin({ tls: certificate });
  t.after(() => origin.close());
  const blob = origin.repository('lab/blind').addBlob({ size: 300_000, seed: 'blind' });
  const node = await startNode(folder.file('cache'), [`origins=${JSON.stringify([{ host: origin.host }])}`]);
  t.after(() => node.stop());
  for (const range of ['bytes=10-99', 'bytes=299000-']) {
    const { status, socket } = await openTunnel(node.url, origin.host);
    assert.equal(status, 200);
    const tls = await tlsInside(socket, { ca: certificate.cert });
    assert.deepEqual(tls.getPeerX509Certificate()?.fingerprint256, fingerprint(certificate.cert));
    const answer = await new Promise<{ status: number | undefined; body: Buffer }>((resolve, reject) => {
      const request = httpsRequest({
        createConnection: () => tls,
        path: blob.path,
        headers: { host: origin.host, range },
      });
      request.on('error', reject);
      request.on('response', async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        resolve({ status: response.statusCode, body: Buffer.concat(chunks) });
      });
      request.end();
    });
    assert.equal(answer.status, 206);
    const start = Number(/\d+/.exec(range)?.[0]);
    assert.ok(answer.body.equals(seededBytes('blind', { start, end: start + answer.body.length })));
    tls.destroy();
  }
  assert.equal(origin.requests.length, 2);
  assert.equal(await metric(node, 'damselfly_tunnels_total{kind="blind"}'), 2);
  assert.ok((await metric(node, 'damselfly_tunnel_bytes_total{direction="down"}')) > 1000);
  assert.ok((await metric(node, 'damselfly_tunnel_bytes_total{direction="up"}')) > 200);
  await eventually(async () => (await metric(node, 'damselfly_tunnels_open')) === 0);
});

function fingerprint(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}

test('8.4 where a tunnel may go', async (t) => {
  const { node, address } = await tunnelled(t, (socket) => socket.end('hello'));
  for (const target of [
    '127.0.0.1:443',
    'localhost:443',
    '[::1]:443',
    '169.254.169.254:443',
    '0.0.0.0:443',
    '[::ffff:127.0.0.1]:443',
    '127.1:443',
  ]) {
    const { status, headers, socket, head } = await openTunnel(node.url, target);
    assert.equal(status, 403, target);
    assert.equal(headers['x-dragonfly-error-type'], 'proxy');
    assert.match(await bodyOf(socket, head), /"target-forbidden"/);
  }
  const elsewhere = ['10.1.2.3:22', 'registry.example:5000', '127.0.0.1:1'];
  for (const target of elsewhere) {
    const { status, headers, socket, head } = await openTunnel(node.url, target);
    assert.equal(status, 503, target);
    assert.equal(headers['x-dragonfly-error-type'], undefined);
    assert.match(await bodyOf(socket, head), /"tunnel-port"/);
  }
  const gone = await openTunnel(node.url, 'no-such-host.invalid:443');
  assert.equal(gone.status, 502);
  assert.match(await bodyOf(gone.socket, gone.head), /"origin-unreachable"/);
  const listed = await openTunnel(node.url, address);
  assert.equal(listed.status, 200);
  assert.equal(await bodyOf(listed.socket, listed.head), 'hello');
  assert.equal(await metric(node, 'damselfly_targets_forbidden_total'), 7);
});

test('what is no host:port is 400', async (t) => {
  const { node } = await tunnelled(t, (socket) => socket.end());
  for (const target of ['registry.example', 'user@registry.example:443', 'registry.example:0']) {
    const { status } = await openTunnel(node.url, target);
    assert.equal(status, 400, target);
  }
});

test('proxy.allowOrigins: listed leaves no tunnel to others, also at port 443', async (t) => {
  const { node, address } = await tunnelled(
    t,
    (socket) => socket.end('in'),
    () => ['proxy.allowOrigins=listed'],
  );
  const refused = await openTunnel(node.url, 'registry.example:443');
  assert.equal(refused.status, 503);
  assert.match(await bodyOf(refused.socket, refused.head), /"origin-not-listed"/);
  const { socket, head } = await openTunnel(node.url, address);
  assert.equal(await bodyOf(socket, head), 'in');
});

test('a listed origin that takes no connection is 502', async (t) => {
  const closed = await listening(createServer());
  const { port } = closed;
  await closed[Symbol.asyncDispose]();
  const { node } = await tunnelled(
    t,
    (socket) => socket.end(),
    () => [`origins=${JSON.stringify([{ host: `127.0.0.1:${port}` }])}`],
  );
  const { status, socket, head } = await openTunnel(node.url, `127.0.0.1:${port}`);
  assert.equal(status, 502);
  assert.match(await bodyOf(socket, head), /ECONNREFUSED/);
});

test('a half-close goes through, with what was sent together with the request', async (t) => {
  const { node, address } = await tunnelled(t, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => socket.end(`got ${Buffer.concat(chunks)}`));
  });
  const raw = createConnection({ port: node.port, host: node.host, allowHalfOpen: true });
  const answer: Buffer[] = [];
  raw.on('data', (chunk) => answer.push(chunk));
  raw.write(`CONNECT ${address} HTTP/1.1\r\nHost: ${address}\r\n\r\nearly, `);
  await once(raw, 'data');
  raw.end('late');
  await once(raw, 'close');
  assert.equal(Buffer.concat(answer).toString(), `${ESTABLISHED}\r\n\r\ngot early, late`);
});

test('a side that breaks breaks the other', async (t) => {
  const sockets: Socket[] = [];
  const { node, address } = await tunnelled(t, (socket) => {
    sockets.push(socket);
    socket.on('data', () => undefined);
  });
  const first = await openTunnel(node.url, address);
  await eventually(() => sockets.length === 1);
  const code = new Promise((resolve) =>
    first.socket.once('error', (error) => resolve('code' in error && error.code)),
  );
  first.socket.resume();
  sockets[0]?.resetAndDestroy();
  assert.equal(await code, 'ECONNRESET');
  const second = await openTunnel(node.url, address);
  await eventually(() => sockets.length === 2);
  const other = sockets[1] as Socket;
  const reset = new Promise((resolve) =>
    other.once('error', (error) => resolve('code' in error && error.code)),
  );
  second.socket.resetAndDestroy();
  assert.equal(await reset, 'ECONNRESET');
  await eventually(async () => (await metric(node, 'damselfly_tunnels_open')) === 0);
});

for (const direction of ['up', 'down'] as const) {
  test(`backpressure ${direction}: a side that does not read stops the other`, async (t) => {
    const offered = 256 << 20;
    const flood = (socket: Socket): void => {
      const chunk = Buffer.alloc(1 << 20);
      const more = (): void => {
        while (socket.bytesWritten < offered && socket.write(chunk));
      };
      socket.on('drain', more);
      more();
    };
    const remotes: Socket[] = [];
    const { node, address } = await tunnelled(t, (socket) => {
      remotes.push(socket.pause());
      if (direction === 'down') flood(socket);
    });
    const { socket } = await openTunnel(node.url, address);
    socket.pause();
    await eventually(() => remotes.length === 1);
    const sender = direction === 'up' ? socket : (remotes[0] as Socket);
    if (direction === 'up') flood(socket);
    let last = -1;
    // Nothing announces that the flow has stopped: two looks with the same sum do.
    await eventually(
      () => {
        const sent = sender.bytesWritten - sender.writableLength;
        const stands = sent > 0 && sent === last;
        last = sent;
        return stands;
      },
      { everyMs: 200, timeoutMs: 20_000 },
    );
    assert.ok(last < offered / 2, `${last} bytes went in`);
    socket.destroy();
    remotes[0]?.destroy();
  });
}

test('a stop ends idle tunnels at once', async (t) => {
  const { node, address } = await tunnelled(t, (socket) => socket.on('data', () => undefined));
  const { socket } = await openTunnel(node.url, address);
  socket.resume();
  const ended = once(socket, 'end');
  const startedMs = performance.now();
  await node.stop();
  await ended;
  assert.ok(performance.now() - startedMs < 4_000, 'the whole grace was waited for');
});

test("origins[].proxy is the way of tunnels too, and the client's Proxy-Authorization stays here", async (t) => {
  const seen: string[] = [];
  const upstream = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (chunk: Buffer) => {
      seen.push(chunk.toString('latin1'));
      if (seen.length === 1) socket.write('HTTP/1.1 200 OK\r\n\r\nfirst words');
      else socket.end('HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n');
      socket.on('data', (more) => socket.end(`: ${more}`));
    });
  });
  const proxy = await listening(upstream);
  t.after(() => proxy[Symbol.asyncDispose]());
  const { node } = await tunnelled(
    t,
    (socket) => socket.end(),
    () => [`origins=${JSON.stringify([{ host: 'reg.example', proxy: `http://127.0.0.1:${proxy.port}` }])}`],
  );
  const headers = { 'Proxy-Authorization': 'Basic c2VjcmV0', Authorization: 'Bearer secret' };
  const { status, socket, head } = await openTunnel(node.url, 'reg.example:443', { headers });
  assert.equal(status, 200);
  socket.write('echo');
  assert.equal(await bodyOf(socket, head), 'first words: echo');
  assert.match(seen[0] ?? '', /^CONNECT reg\.example:443 HTTP\/1\.1\r\n/);
  assert.doesNotMatch(seen[0] ?? '', /authorization/i);
  const refused = await openTunnel(node.url, 'reg.example:443');
  assert.equal(refused.status, 502);
  assert.match(await bodyOf(refused.socket, refused.head), /answered 407/);
});
