import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { hasCode } from '../../src/errors.ts';
import { proxyFromEnvironment } from '../../src/origin/proxy-env.ts';
import { blackHole, listening } from '../support/listening.ts';
import { selfSigned, startOrigin } from '../support/origin.ts';
import { entry, NEVER, REPOSITORY, rig } from './support.ts';

/** An HTTP proxy that sends everything to `target`, whatever name was asked for. */
async function proxyTo(target: { readonly port: number }, options: { readonly refuse?: number } = {}) {
  const seen: { line: string; rawHeaders: readonly string[] }[] = [];
  const server = createServer((request, response) => {
    seen.push({ line: `${request.method} ${request.url}`, rawHeaders: request.rawHeaders });
    if (options.refuse !== undefined) return response.writeHead(options.refuse).end();
    const { pathname, search } = new URL(request.url ?? '');
    const onward = httpRequest({
      port: target.port,
      host: '127.0.0.1',
      method: request.method,
      path: pathname + search,
      headers: request.rawHeaders as never,
    });
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders as never);
      answer.pipe(response);
    });
    request.pipe(onward);
  });
  server.on('connect', (request, client) => {
    seen.push({ line: `CONNECT ${request.url}`, rawHeaders: request.rawHeaders });
    client.on('error', () => undefined);
    if (options.refuse !== undefined) return client.end(`HTTP/1.1 ${options.refuse} No\r\n\r\n`);
    const onward = connect(target.port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(client).pipe(onward);
    });
    onward.on('error', () => client.destroy());
    client.on('close', () => onward.destroy());
  });
  return { ...(await listening(server)), seen };
}

test('origins[].proxy: https is tunnelled, verified against the origin, and kept alive', async () => {
  const certificate = await selfSigned(['reg.example']);
  await using origin = await startOrigin({ tls: certificate });
  await using proxy = await proxyTo(origin);
  const blob = origin.repository(REPOSITORY).addBlob({ size: 300_000, seed: 1 });
  await using parts = rig(origin, {
    listing: { origins: [entry('reg.example', { ca: certificate.cert, proxy: proxy.url })] },
  });
  const upstream = { ...parts.upstream, origin: parts.directory.resolve('reg.example') };
  const whole = { start: 0, end: Number.POSITIVE_INFINITY };
  assert.equal((await parts.read(blob.digest, whole, { upstream })).length, 300_000);
  // The library hands a connection on after a turn of the loop.
  await setImmediate();
  assert.equal((await parts.read(blob.digest, { start: 5, end: 9 }, { upstream })).length, 4);
  assert.deepEqual(
    proxy.seen.map(({ line }) => line),
    ['CONNECT reg.example:443'],
  );
});

test('a certificate that the origin has no right to fails through a proxy as well', async () => {
  const certificate = await selfSigned(['else.example']);
  await using origin = await startOrigin({ tls: certificate });
  await using proxy = await proxyTo(origin);
  await using parts = rig(origin, {
    retry: { attempts: 1 },
    listing: { origins: [entry('reg.example', { ca: certificate.cert, proxy: proxy.url })] },
  });
  const upstream = { ...parts.upstream, origin: parts.directory.resolve('reg.example') };
  await assert.rejects(
    parts.open(`sha256:${'a'.repeat(64)}` as never, { start: 0, end: 1 }, { upstream }),
    (error) => hasCode(error, 'origin-unreachable'),
  );
});

test('plain http goes to the proxy in absolute form, with each repeated header line', async () => {
  await using origin = await startOrigin();
  await using proxy = await proxyTo(origin);
  await using parts = rig(origin, {
    listing: { origins: [entry('reg.example', { insecure: true, proxy: proxy.url })] },
  });
  const accept = ['a/1', 'a/2', 'a/3', 'a/4', 'a/5', 'a/6'];
  const answer = await parts.client.forward({
    origin: parts.directory.resolve('reg.example'),
    method: 'GET',
    pathAndQuery: '/v2/?x=%20',
    rawHeaders: accept.flatMap((value) => ['Accept', value]),
    signal: NEVER,
  });
  await answer.body.toArray();
  assert.equal(answer.status, 200);
  assert.equal(proxy.seen[0]?.line, 'GET http://reg.example/v2/?x=%20');
  const lines = origin.requests[0]?.rawHeaders ?? [];
  assert.deepEqual(
    lines.filter((_, i) => lines[i - 1]?.toLowerCase() === 'accept' && i % 2 === 1),
    accept,
  );
  assert.equal(lines[lines.findIndex((name) => name.toLowerCase() === 'host') + 1], 'reg.example');
});

test("the environment's proxy serves origins without one of their own, NO_PROXY excepted", async () => {
  await using origin = await startOrigin();
  await using proxy = await proxyTo(origin);
  await using parts = rig(origin, {
    proxyForUrl: proxyFromEnvironment({ HTTP_PROXY: proxy.url, NO_PROXY: 'direct.example' }),
    resolver: { resolve: async () => [] },
    retry: { attempts: 1 },
    listing: { origins: [entry('*.example', { insecure: true })] },
  });
  const get = (host: string) =>
    parts.client.forwardUrl({ url: `http://${host}/v2/`, method: 'GET', rawHeaders: [], signal: NEVER });
  const answer = await get('proxied.example');
  await answer.body.toArray();
  assert.equal(answer.status, 200);
  await assert.rejects(get('direct.example'), (error) => hasCode(error, 'origin-unreachable'));
  assert.equal(proxy.seen.length, 1);
});

test('addresses that may not be reached are not asked of a proxy either', async () => {
  await using origin = await startOrigin();
  await using proxy = await proxyTo(origin);
  await using parts = rig(origin, { proxyForUrl: () => proxy.url, listing: { origins: [] } });
  for (const url of [
    'http://169.254.169.254/',
    'http://[fd00:ec2::254]/',
    'http://127.0.0.1:5000/',
    'http://localhost/',
    'http://0x7f000001/',
  ]) {
    await assert.rejects(
      parts.client.forwardUrl({ url, method: 'GET', rawHeaders: [], signal: NEVER }),
      (error) => hasCode(error, 'target-forbidden'),
      url,
    );
  }
  assert.deepEqual(proxy.seen, []);
  assert.equal(await parts.value('damselfly_targets_forbidden_total'), 5);
});

test('a proxy that refuses, wants a login or is silent is an unreachable origin', async () => {
  await using origin = await startOrigin();
  await using refusing = await proxyTo(origin, { refuse: 403 });
  await using login = await proxyTo(origin, { refuse: 407 });
  await using hole = await blackHole();
  for (const [proxy, scheme] of [
    [refusing.url, 'https'],
    [login.url, 'https'],
    [login.url, 'http'],
    [hole.url, 'https'],
  ] as const) {
    await using parts = rig(origin, {
      retry: { attempts: 1 },
      proxyForUrl: () => proxy,
      connectTimeoutMs: 100,
    });
    const asking = parts.client.forwardUrl({
      url: `${scheme}://reg.example/v2/`,
      method: 'GET',
      rawHeaders: [],
      signal: NEVER,
      headTimeoutMs: 200,
    });
    await assert.rejects(
      asking,
      (error: Error) =>
        hasCode(error, 'origin-unreachable') ||
        hasCode(error, 'origin-broken') ||
        hasCode(error, 'origin-timeout'),
      `${scheme} ${proxy}`,
    );
  }
});
