import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { listening } from '../support/listening.ts';
import { startOrigin } from '../support/origin.ts';
import { demand, entry, NEVER, REPOSITORY, rig } from './support.ts';

type Handler = Parameters<typeof createServer>[1];

/** The origin module before a plain server of the test's own. */
async function before(handler: Handler) {
  const server = await listening(createServer(handler as never));
  const origin = await startOrigin();
  const parts = rig(origin, { listing: { origins: [entry(server.host, { insecure: true })] } });
  return {
    ...parts,
    server,
    id: parts.directory.resolve(server.host),
    async [Symbol.asyncDispose]() {
      await parts.close();
      await server.close();
      await origin.close();
    },
  };
}

async function textOf(body: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return String(Buffer.concat(chunks));
}

test('the request goes out as it came: order, spelling, repeats, path and query', async () => {
  let seen: IncomingMessage | undefined;
  await using parts = await before((request, response) => {
    seen = request;
    response.end();
  });
  const accept = Array.from({ length: 6 }, (_, i) => ['Accept', `application/x.${i}`]).flat();
  const { id, server } = parts;
  await parts.client.forward({
    origin: id,
    method: 'GET',
    pathAndQuery: '/v2/a/tags/list?n=2&last=%7Ea//b',
    rawHeaders: [
      'Host',
      'mirror:4001',
      'User-Agent',
      'x/1',
      ...accept,
      'Connection',
      'keep-alive, x-hop',
      'X-Hop',
      '1',
      'X-Dragonfly-Priority',
      '6',
      'Expect',
      '100-continue',
      'authorization',
      'Bearer t',
    ],
    signal: NEVER,
  });
  assert.equal(seen?.url, '/v2/a/tags/list?n=2&last=%7Ea//b');
  assert.deepEqual(seen?.rawHeaders.slice(4), ['User-Agent', 'x/1', ...accept, 'authorization', 'Bearer t']);
  assert.deepEqual(seen?.rawHeaders.slice(0, 2), ['host', server.host]);
});

test("the answer comes back as it is: status, order, repeats, bytes, and the origin's own encoding", async () => {
  const packed = Buffer.from([0x1f, 0x8b, 1, 2, 3]);
  await using parts = await before((_request, response) => {
    response.sendDate = false;
    response.writeHead(418, [
      'WWW-Authenticate',
      'Bearer realm="a"',
      'X-B',
      '1',
      'www-authenticate',
      'Basic realm="b"',
      'Content-Encoding',
      'gzip',
      'Keep-Alive',
      'timeout=9',
    ]);
    response.end(packed);
  });
  const answer = await parts.client.forward({
    origin: parts.id,
    method: 'GET',
    pathAndQuery: '/',
    rawHeaders: [],
    signal: NEVER,
  });
  assert.equal(answer.status, 418);
  assert.deepEqual(answer.rawHeaders, [
    'WWW-Authenticate',
    'Bearer realm="a"',
    'X-B',
    '1',
    'www-authenticate',
    'Basic realm="b"',
    'Content-Encoding',
    'gzip',
  ]);
  assert.equal(answer.header('www-authenticate'), 'Bearer realm="a"');
  assert.deepEqual(Buffer.concat(await answer.body.toArray()), packed);
});

test('redirects and 5xx are relayed, not followed and not repeated', async () => {
  let requests = 0;
  await using parts = await before((request, response) => {
    requests++;
    response.writeHead(request.url === '/r' ? 302 : 503, { Location: '/elsewhere' }).end('body');
  });
  for (const [pathAndQuery, status] of [
    ['/r', 302],
    ['/x', 503],
  ] as const) {
    const answer = await parts.client.forward({
      origin: parts.id,
      method: 'GET',
      pathAndQuery,
      rawHeaders: [],
      signal: NEVER,
    });
    assert.equal(answer.status, status);
    assert.equal(await textOf(answer.body), 'body');
  }
  assert.equal(requests, 2);
});

test('a GET is tried again on a lost connection, a POST never', async () => {
  let requests = 0;
  await using parts = await before((request, response) => {
    if (++requests % 2 === 1) request.socket.resetAndDestroy();
    else response.end('ok');
  });
  const get = await parts.client.forward({
    origin: parts.id,
    method: 'GET',
    pathAndQuery: '/',
    rawHeaders: [],
    signal: NEVER,
  });
  assert.equal(await textOf(get.body), 'ok');
  assert.equal(requests, 2);
  await assert.rejects(
    parts.client.forward({
      origin: parts.id,
      method: 'POST',
      pathAndQuery: '/',
      rawHeaders: ['Content-Length', '1'],
      body: Readable.from([Buffer.from('x')]),
      signal: NEVER,
    }),
    (error) => hasCode(error, 'origin-broken'),
  );
  assert.equal(requests, 3);
});

test('bodies go up with their length or chunked, and a GET without one sends none', async () => {
  const got: string[] = [];
  await using parts = await before(async (request, response) => {
    got.push(
      `${request.method} ${request.headers['content-length'] ?? '-'} ${request.headers['transfer-encoding'] ?? '-'} ${await textOf(request)}`,
    );
    response.end();
  });
  const send = async (method: string, rawHeaders: string[], body?: Readable) => {
    const answer = await parts.client.forward({
      origin: parts.id,
      method,
      pathAndQuery: '/',
      rawHeaders,
      body,
      signal: NEVER,
    });
    answer.body.resume();
    await once(answer.body, 'close');
  };
  await send('PUT', ['Content-Length', '6'], Readable.from([Buffer.from('abc'), Buffer.from('def')]));
  await send('POST', ['Transfer-Encoding', 'chunked'], Readable.from([Buffer.from('xyz')]));
  await send('POST', ['Content-Length', '0'], new Readable({ read: () => undefined }));
  // nydusd sends this with every GET.
  await send('GET', ['Content-Length', '0'], new Readable({ read: () => undefined }));
  await send('DELETE', []);
  assert.deepEqual(got, ['PUT 6 - abcdef', 'POST - chunked xyz', 'POST 0 - ', 'GET - - ', 'DELETE - - ']);
});

test("an answer before the end of the body leaves the client's stream alone", async () => {
  await using parts = await before((request, response) => {
    response.writeHead(413, { Connection: 'close' }).end('too much');
    request.resume();
  });
  const body = new PassThrough();
  body.write('a');
  const answer = await parts.client.forward({
    origin: parts.id,
    method: 'PUT',
    pathAndQuery: '/',
    rawHeaders: ['Content-Length', '1000000'],
    body,
    signal: NEVER,
  });
  assert.equal(answer.status, 413);
  assert.equal(await textOf(answer.body), 'too much');
  for (let turn = 0; turn < 5; turn++) {
    body.write('more');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(body.destroyed, false);
  }
  body.destroy();
});

test('the time to the head counts from the last byte of the body', async () => {
  await using parts = await before((request) => {
    request.resume();
  });
  const body = new PassThrough();
  let failed = false;
  const sending = parts.client
    .forward({
      origin: parts.id,
      method: 'PUT',
      pathAndQuery: '/',
      rawHeaders: ['Transfer-Encoding', 'chunked'],
      body,
      signal: NEVER,
      headTimeoutMs: 80,
    })
    .finally(() => {
      failed = true;
    });
  sending.catch(() => undefined);
  // Longer than the timeout: the body is still on its way.
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 40));
    body.write('x');
    assert.equal(failed, false);
  }
  body.end();
  await assert.rejects(sending, (error) => hasCode(error, 'origin-timeout') && error.status === 504);
});

test('a client that goes away in mid-body takes the request with it', async () => {
  const gone = Promise.withResolvers<void>();
  await using parts = await before((request) => {
    request.on('error', () => undefined).on('close', () => gone.resolve());
    request.resume();
  });
  const body = new PassThrough();
  body.write('half');
  const abort = new AbortController();
  const sending = parts.client.forward({
    origin: parts.id,
    method: 'PUT',
    pathAndQuery: '/',
    rawHeaders: ['Content-Length', '1000'],
    body,
    signal: abort.signal,
  });
  setTimeout(() => {
    abort.abort(new Error('client gone'));
    body.destroy();
  }, 30);
  await assert.rejects(sending, /client gone/);
  await gone.promise;
});

test('destroying the answer drops the connection; nothing stays open', async () => {
  await expectNoLeak(async () => {
    const closed = Promise.withResolvers<void>();
    await using parts = await before((_request, response) => {
      response.on('close', () => closed.resolve());
      response.writeHead(200, { 'Content-Length': 1e9 });
      response.write('start');
    });
    const answer = await parts.client.forward({
      origin: parts.id,
      method: 'GET',
      pathAndQuery: '/',
      rawHeaders: [],
      signal: NEVER,
    });
    answer.body.destroy();
    await closed.promise;
    assert.equal(await parts.value('damselfly_origin_requests_open'), 0);
  });
});

test('backpressure reaches the origin', async () => {
  let sent = 0;
  await using parts = await before((_request, response) => {
    const chunk = Buffer.alloc(1 << 20);
    const pump = (): void => {
      while (sent < 256 << 20) {
        sent += chunk.length;
        if (!response.write(chunk)) return void response.once('drain', pump);
      }
      response.end();
    };
    pump();
  });
  const answer = await parts.client.forward({
    origin: parts.id,
    method: 'GET',
    pathAndQuery: '/',
    rawHeaders: [],
    signal: NEVER,
  });
  for (let before = -1; before !== sent; ) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.ok(sent < 64 << 20, `${sent} bytes left for a reader that reads nothing`);
  answer.body.destroy();
});

test('a body that breaks off is an error, never a short end', async () => {
  await using parts = await before((request, response) => {
    response.writeHead(200, { 'Content-Length': 100 });
    response.write('half', () => {
      if (request.url === '/reset') response.destroy();
    });
  });
  const answer = await parts.client.forward({
    origin: parts.id,
    method: 'GET',
    pathAndQuery: '/reset',
    rawHeaders: [],
    signal: NEVER,
  });
  await assert.rejects(textOf(answer.body), (error) => hasCode(error, 'origin-broken'));
});

test('slots are given back however an exchange ends', async () => {
  await using parts = await before((request, response) => {
    if (request.url === '/drop') return request.socket.resetAndDestroy();
    response.writeHead(200, { 'Content-Length': 4 });
    response.write('ha', () => {
      if (request.url === '/cut') response.destroy();
      else if (request.url !== '/hang') response.end('lf');
    });
  });
  await using origin = await startOrigin();
  await using narrow = rig(origin, {
    forwardSlots: 1,
    maxQueued: 0,
    listing: { origins: [entry(parts.server.host, { insecure: true })] },
  });
  const ask = (path: string, signal = NEVER) =>
    narrow.client.forward({ origin: parts.id, method: 'GET', pathAndQuery: path, rawHeaders: [], signal });
  await textOf((await ask('/ok')).body);
  await textOf((await ask('/cut')).body).catch(() => undefined);
  await ask('/drop').catch(() => undefined);
  (await ask('/hang')).body.destroy();
  const abort = new AbortController();
  await ask('/hang', abort.signal);
  abort.abort();
  assert.equal(await textOf((await ask('/ok')).body), 'half');
});

test('a question of ours never waits behind what is passed through, which waits for a slot only so long', async () => {
  await using origin = await startOrigin();
  const blob = origin.repository(REPOSITORY).addBlob({ size: 4 << 20, seed: 'slow' });
  await using narrow = rig(origin, { controlSlots: 1, forwardSlots: 1 });
  const forward = (headTimeoutMs?: number) =>
    narrow.client.forward({
      origin: origin.id,
      method: 'GET',
      pathAndQuery: blob.path,
      rawHeaders: [],
      signal: NEVER,
      headTimeoutMs,
    });
  // Nobody reads it, so its slot stays taken.
  const held = await forward();
  const ask = { ...demand(), signal: AbortSignal.timeout(5_000), followRedirects: true };
  assert.equal((await narrow.client.head(narrow.upstream, blob.digest, ask)).status, 200);
  await assert.rejects(forward(20), (error) => hasCode(error, 'origin-busy'));
  assert.equal(await narrow.value('damselfly_origin_requests_queued'), 0);
  held.body.destroy();
  (await forward()).body.destroy();
});

test('what cannot be sent is the request that is wrong', async () => {
  await using parts = await before((_request, response) => response.end());
  for (const options of [
    { pathAndQuery: '/a b', rawHeaders: [] },
    { pathAndQuery: '/', rawHeaders: ['X-A', 'a\nb'] },
    { pathAndQuery: '/', rawHeaders: ['bad name', 'x'] },
    { pathAndQuery: '/', rawHeaders: [], method: 'G ET' },
  ]) {
    await assert.rejects(
      parts.client.forward({ origin: parts.id, method: 'GET', signal: NEVER, ...options }),
      (error) => hasCode(error, 'request-malformed'),
      JSON.stringify(options),
    );
  }
  await assert.rejects(
    parts.client.forwardUrl({ url: 'http://', method: 'GET', rawHeaders: [], signal: NEVER }),
    (error) => hasCode(error, 'request-malformed'),
  );
});

test('a 5xx to a request that is passed through opens no breaker for others', async () => {
  await using parts = await before((request, response) => {
    response.statusCode = request.url === '/broken' ? 500 : 200;
    response.end();
  });
  const get = (pathAndQuery: string) =>
    parts.client.forward({ origin: parts.id, method: 'GET', pathAndQuery, rawHeaders: [], signal: NEVER });
  for (let i = 0; i < 20; i++) {
    const answer = await get('/broken');
    assert.equal(answer.status, 500);
    answer.body.destroy();
  }
  const fine = await get('/fine');
  assert.equal(fine.status, 200);
  fine.body.destroy();
});
