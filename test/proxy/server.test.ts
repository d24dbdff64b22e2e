import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import type { ListenAddress } from '../../config/address.ts';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { ProxyServer, type ProxyServerOptions } from '../../src/proxy/server.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet, keepAlive, rawExchange } from '../support/http-get.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { selfSigned } from '../support/origin/certificate.ts';
import { tempFolder } from '../support/temp-folder.ts';

const LOOPBACK: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 };

/** Says what came, byte for byte. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  const body = Buffer.from(`${request.method} ${request.url}`, 'latin1');
  response.writeHead(200, ['Content-Length', String(body.length)]);
  response.end(request.method === 'HEAD' ? undefined : body);
}

function make(options: Partial<ProxyServerOptions> = {}): ProxyServer {
  return new ProxyServer({ handle: echo, healthy: () => true, log: silentLogger, ...options });
}

async function start(
  t: TestContext,
  options: Partial<ProxyServerOptions> = {},
): Promise<{ server: ProxyServer; host: string; url: string; port: number }> {
  const server = make(options);
  const [address] = await server.listen([LOOPBACK]);
  t.after(() => server.close(0));
  assert.ok(address?.kind === 'tcp');
  const host = `127.0.0.1:${address.port}`;
  return { server, host, url: `http://${host}`, port: address.port };
}

async function rawStatus(host: string, request: string | Buffer): Promise<string> {
  const answer = await rawExchange(host, request);
  return answer.toString('latin1').split('\r\n')[0] ?? '';
}

describe('health checks', () => {
  const paths = ['/', '/v2', '/healthy', '/ping', '/server/ping', '/healthy?x=y', '/?'];
  it('are answered from the flag alone, by GET and HEAD', async (t) => {
    let isHealthy = true;
    const { url } = await start(t, {
      healthy: () => isHealthy,
      handle: () => assert.fail('a ping reached the handler'),
    });
    for (const path of paths) {
      isHealthy = true;
      const good = await httpGet(url + path, { target: path });
      assert.equal(good.status, 200, path);
      assert.equal(good.body.toString(), 'ok\n');
      assert.equal((await httpGet(url, { target: path, method: 'HEAD' })).status, 200);
      isHealthy = false;
      assert.equal((await httpGet(url, { target: path })).status, 503);
    }
  });

  it('leave the root alone where it is a blob', async (t) => {
    const { url } = await start(t, { isRootPing: false });
    assert.equal((await httpGet(url, { target: '/' })).body.toString(), 'GET /');
    assert.equal((await httpGet(url, { target: '/?a' })).body.toString(), 'GET /?a');
    assert.equal((await httpGet(url, { target: '/ping' })).body.toString(), 'ok\n');
  });
});

describe('every other request reaches the handler as it came', () => {
  const targets = [
    '/v2/',
    '/v2//a/../b/./%2e%2E/%zz?x=/http://y&&=',
    'http://registry.example:80/v2/a/blobs/x?y',
    'http://h',
    '/p/https://h//x?sig=%2b+',
    '//double',
    '/%',
    '*',
  ];
  it('in any form', async (t) => {
    const { host } = await start(t);
    for (const target of targets) {
      const answer = await rawExchange(
        host,
        Buffer.from(`OPTIONS ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`, 'latin1'),
      );
      assert.ok(answer.toString('latin1').endsWith(`\r\n\r\nOPTIONS ${target}`), target);
    }
  });
  it('of any method', async (t) => {
    const { url } = await start(t);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'])
      assert.equal((await httpGet(url, { method, target: '/' })).body.toString(), `${method} /`);
  });
});

describe('what is not a request', () => {
  const head = (lines: string) => `GET /x HTTP/1.1\r\nHost: x\r\n${lines}\r\n\r\n`;
  const cases: [name: string, request: string | Buffer, status: string][] = [
    ['garbage', 'hello there\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
    ['a bad header', head('a b: c'), 'HTTP/1.1 400 Bad Request'],
    ['two lengths', head('Content-Length: 1\r\nContent-Length: 2'), 'HTTP/1.1 400 Bad Request'],
    [
      'length and chunks together',
      head('Content-Length: 1\r\nTransfer-Encoding: chunked'),
      'HTTP/1.1 400 Bad Request',
    ],
    ['a target that is not ASCII', 'GET /\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
    ['no host', 'GET /x HTTP/1.1\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
    [
      'a URL over 16 KiB',
      `GET /${'x'.repeat(17 << 10)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      'HTTP/1.1 414 URI Too Long',
    ],
    [
      'a URL over everything',
      `GET /${'x'.repeat(100 << 10)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      'HTTP/1.1 414 URI Too Long',
    ],
    [
      'headers over 48 KiB',
      head(`X-Long: ${'x'.repeat(50 << 10)}`),
      'HTTP/1.1 431 Request Header Fields Too Large',
    ],
    [
      'many headers',
      head(Array(4000).fill('X-Many: 0123456789').join('\r\n')),
      'HTTP/1.1 431 Request Header Fields Too Large',
    ],
    ['CONNECT', 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n', 'HTTP/1.1 405 Method Not Allowed'],
    ['a TLS ClientHello', Buffer.from('1603010200010001fc0303', 'hex'), ''],
    ['half a request', 'GET /x HT', ''],
  ];
  for (const [name, request, status] of cases)
    it(`${name} → ${status === '' ? 'closed at once' : status}`, async (t) => {
      const { host } = await start(t);
      const ends = name === 'half a request';
      const answer = ends
        ? await rawExchange(host, request, { endAfterSending: true })
        : Buffer.from(await rawStatus(host, request));
      assert.equal(answer.toString(), status);
    });

  it('takes heads up to the limits', async (t) => {
    const { url } = await start(t);
    const answer = await httpGet(url, {
      target: `/${'x'.repeat(16_000)}`,
      headers: { Authorization: `Bearer ${'x'.repeat(30_000)}` },
    });
    assert.equal(answer.status, 200);
  });

  it('is never answered inside another answer', async (t) => {
    const { host } = await start(t, {
      handle: (_request, response) => {
        response.writeHead(200, ['Content-Length', '1000']);
        response.write('start');
      },
    });
    const answer = await rawExchange(host, 'GET /x HTTP/1.1\r\nHost: x\r\n\r\ngarbage\r\n\r\n');
    assert.ok(!answer.includes('400'), answer.toString());
  });
});

it('CONNECT goes to its handler with what followed it', async (t) => {
  const { host } = await start(t, {
    connect: (request, socket, rest) => socket.end(`${request.url} ${rest.toString()}`),
  });
  const answer = await rawExchange(host, 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\nhello');
  assert.equal(answer.toString(), 'h:443 hello');
});

describe('Expect: 100-continue', () => {
  const request = 'PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n';

  it('asks for the body when it is read', async (t) => {
    const { port } = await start(t, {
      handle: (incoming, response) => {
        void (async () => {
          let body = '';
          for await (const chunk of incoming) body += String(chunk);
          response.writeHead(201, ['Content-Length', String(body.length)]);
          response.end(body);
        })();
      },
    });
    const socket = connect(port, '127.0.0.1');
    t.after(() => socket.destroy());
    let text = '';
    socket.on('data', (data) => {
      text += String(data);
    });
    socket.write(request);
    await eventually(() => text === 'HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('body');
    await eventually(() => text.endsWith('\r\n\r\nbody'));
  });

  it('says nothing of it inside an answer that has begun', async (t) => {
    const { host } = await start(t, {
      handle: (incoming, response) => {
        response.writeHead(200, ['Content-Length', '6', 'Connection', 'close']);
        response.write('abc', () => {
          incoming.resume();
          setImmediate(() => response.end('def'));
        });
      },
    });
    const answer = (await rawExchange(host, request)).toString();
    assert.ok(answer.endsWith('\r\n\r\nabcdef'), answer);
  });

  it('does not, when the answer needs none', async (t) => {
    const { host } = await start(t);
    const answer = (await rawExchange(host, request)).toString();
    assert.ok(answer.startsWith('HTTP/1.1 200 OK'), answer);
    assert.ok(answer.includes('Connection: close'));
  });
});

describe('keep-alive', () => {
  it('outlasts the clients', async (t) => {
    const { url } = await start(t);
    assert.equal((await httpGet(url, { agent: agents(t).http })).header('keep-alive'), 'timeout=125');
  });
});

function agents(t: TestContext): ReturnType<typeof keepAlive> {
  const kept = keepAlive();
  t.after(kept.destroy);
  return kept;
}

describe('listening', () => {
  it('serves several addresses alike, unix sockets and TLS included', async (t) => {
    const folder = await tempFolder(t);
    const server = make();
    t.after(() => server.close(0));
    const path = folder.file('proxy.sock');
    const bound = await server.listen([
      LOOPBACK,
      { kind: 'tcp', host: '::1', port: 0 },
      { kind: 'unix', path },
    ]);
    const [v4, v6, unix] = bound;
    assert.ok(v4?.kind === 'tcp' && v6?.kind === 'tcp' && v4.port > 0 && v6.port > 0);
    assert.deepEqual(unix, { kind: 'unix', path });
    assert.equal((await httpGet(`http://127.0.0.1:${v4.port}/a`)).status, 200);
    assert.equal((await httpGet(`http://[::1]:${v6.port}/a`)).status, 200);
    assert.equal((await httpGet('http://localhost/a', { socketPath: path })).status, 200);
    assert.equal((await httpGet('http://localhost/ping', { socketPath: path })).body.toString(), 'ok\n');
    const { key, cert } = await selfSigned();
    const secure = await start(t, { tls: { key, cert } });
    assert.equal((await httpGet(`https://${secure.host}/a`, { ca: cert })).body.toString(), 'GET /a');
  });

  it('says what is wrong with an address, and binds none when one fails', async (t) => {
    const first = await start(t);
    const server = make();
    const taken: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: first.port };
    await expectNoLeak(() =>
      assert.rejects(server.listen([LOOPBACK, taken]), (error) => {
        assert.ok(hasCode(error, 'listen-failed'));
        assert.match(error.message, new RegExp(`${first.host} \\(EADDRINUSE\\)`));
        return true;
      }),
    );
    await assert.rejects(make().listen([{ kind: 'unix', path: '/nonexistent/x' }]), (error) =>
      hasCode(error, 'listen-failed'),
    );
  });

  it('takes over the socket file of a node that was killed', async (t) => {
    const folder = await tempFolder(t);
    const path = folder.file('proxy.sock');
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.ok(existsSync(path));
    const server = make();
    t.after(() => server.close(0));
    await server.listen([{ kind: 'unix', path }]);
    assert.equal((await httpGet('http://localhost/a', { socketPath: path })).status, 200);
  });

  it('leaves a socket alone that is listened on, and a file that is no socket', async (t) => {
    const folder = await tempFolder(t);
    const path = folder.file('used.sock');
    const other = createServer().listen(path);
    await once(other, 'listening');
    t.after(() => other.close());
    await assert.rejects(make().listen([{ kind: 'unix', path }]), (error) => hasCode(error, 'listen-failed'));
    assert.ok(existsSync(path));
    const file = folder.file('precious');
    writeFileSync(file, 'data');
    await assert.rejects(make().listen([{ kind: 'unix', path: file }]), (error) =>
      hasCode(error, 'listen-failed'),
    );
    assert.ok(existsSync(file));
  });
});

it('a TLS listener hangs up on a client that does not shake hands in time, and on what is no TLS', async (t) => {
  const { server, port } = await start(t, { tls: await selfSigned(), tlsHandshakeMs: 100 });
  for (const bytes of ['', '16030102', '474554202f20485454502f312e310d0a0d0a']) {
    const socket = connect({ port, host: '127.0.0.1' });
    const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
    socket.resume().write(Buffer.from(bytes, 'hex'));
    await closed;
  }
  await eventually(() => server.connections === 0);
});

describe('close', () => {
  it('ends idle connections at once: used ones, and ones on which nothing came', async (t) => {
    const { server, url, port } = await start(t);
    await httpGet(`${url}/a`, { agent: agents(t).http });
    const silent = connect(port, '127.0.0.1');
    await once(silent, 'connect');
    await eventually(() => server.connections === 2);
    const begun = performance.now();
    await server.close(60_000);
    assert.ok(performance.now() - begun < 30_000);
    assert.equal(server.connections, 0);
    await eventually(() => silent.closed || silent.destroy());
  });

  it('lets an answer end, then its connection, and takes no new one', async (t) => {
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<ServerResponse>();
    const { server, url } = await start(t, { handle: (_request, response) => arrive(response) });
    const asking = httpGet(`${url}/a`, { agent: agents(t).http });
    const response = await arrived;
    response.writeHead(200, ['Content-Length', '5']);
    response.write('abc');
    const closing = server.close(60_000);
    await assert.rejects(httpGet(`${url}/b`), /ECONNREFUSED/);
    response.end('de');
    assert.equal((await asking).body.toString(), 'abcde');
    await closing;
  });

  it('resets what is not done in time, tunnels and TLS included', async (t) => {
    const { key, cert } = await selfSigned();
    for (const tls of [undefined, { key, cert }]) {
      const tunnels: Socket[] = [];
      const { server, host, port } = await start(t, {
        tls,
        connect: (_request, socket) => tunnels.push(socket as Socket),
        handle: (_request, response) => {
          response.writeHead(200, ['Content-Length', '5']);
          response.write('abc');
        },
      });
      const scheme = tls === undefined ? 'http' : 'https';
      const asking = httpGet(`${scheme}://${host}/a`, {
        ...(tls === undefined ? {} : { ca: cert }),
        onHead: () => void server.close(30),
      });
      if (tls === undefined) {
        const tunnel = connect(port, '127.0.0.1');
        tunnel.on('error', () => undefined);
        tunnel.write('CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n');
      }
      assert.equal((await asking).complete, false);
      await eventually(() => server.connections === 0);
    }
  });
});
