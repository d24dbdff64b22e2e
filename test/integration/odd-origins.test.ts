// TLS to origins that are not quite usual.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';
import { seededBytes, seededDigest, selfSigned, startOrigin } from '../support/origin.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode } from './support/node.ts';

const SIZE = 50_000;

async function node(t: TestContext, folder: { file(name: string): string }, set: readonly string[]) {
  const started = await startNode(folder.file('cache'), set);
  t.after(() => started.stop());
  return started;
}

test('an origin on an address, with a certificate for it', async (t) => {
  const folder = await tempFolder(t);
  for (const [host, names] of [
    ['127.0.0.1', ['127.0.0.1']],
    ['::1', ['::1']],
  ] as const) {
    const certificate = await selfSigned(names);
    const ca = folder.file(`${host.length}.pem`);
    await writeFile(ca, certificate.cert);
    const server = await listening(
      createServer(certificate, (_request, response) => response.end('here')),
      host,
    );
    t.after(() => server.close());
    const started = await startNode(folder.file(`cache-${host.length}`), [
      `origins=${JSON.stringify([{ host: server.host, ca }])}`,
    ]);
    t.after(() => started.stop());
    const answer = await httpGet(started.url, { target: `https://${server.host}/x` });
    assert.equal(answer.status, 200, host);
    assert.equal(answer.body.toString(), 'here');
  }
});

test('origins[].url with another host: Host, SNI and the certificate are those of that host', async (t) => {
  const folder = await tempFolder(t);
  const certificate = await selfSigned(['localhost']);
  const ca = folder.file('ca.pem');
  await writeFile(ca, certificate.cert);
  const seen: { host: string | undefined; servername: unknown; url: string | undefined }[] = [];
  const server = await listening(
    createServer(certificate, (request, response) => {
      const { servername } = request.socket as TLSSocket & { servername?: unknown };
      seen.push({ host: request.headers.host, servername, url: request.url });
      response.end('moved');
    }),
  );
  t.after(() => server.close());
  const url = `https://localhost:${server.port}/hub`;
  const { url: at } = await node(t, folder, [
    `origins=${JSON.stringify([{ host: 'registry.example.test', url, ca }])}`,
    'proxy.defaultOrigin=https://registry.example.test',
  ]);
  for (const target of [
    '/v2/a/tags/list',
    'http://registry.example.test/v2/a/tags/list',
    'https://registry.example.test./v2/a/tags/list',
  ]) {
    const answer = await httpGet(at, { target, headers: { Host: 'registry.example.test' } });
    assert.equal(answer.body.toString(), 'moved', target);
    assert.deepEqual(seen.at(-1), {
      host: `localhost:${server.port}`,
      servername: 'localhost',
      url: '/hub/v2/a/tags/list',
    });
  }
});

test('a name with a closing dot: SNI has none, and the certificate fits', async (t) => {
  const folder = await tempFolder(t);
  const certificate = await selfSigned(['localhost']);
  const ca = folder.file('ca.pem');
  await writeFile(ca, certificate.cert);
  const seen: unknown[] = [];
  const server = await listening(
    createServer(certificate, (request, response) => {
      seen.push((request.socket as TLSSocket & { servername?: unknown }).servername);
      response.end('ok');
    }),
  );
  t.after(() => server.close());
  const { url } = await node(t, folder, [
    `origins=${JSON.stringify([{ host: `localhost:${server.port}`, ca }])}`,
  ]);
  const answer = await httpGet(url, { target: `https://localhost.:${server.port}/x` });
  assert.equal(answer.status, 200, answer.body.toString());
  assert.deepEqual(seen, ['localhost']);
});

test('an http origin that redirects its blobs to https, and back', async (t) => {
  const folder = await tempFolder(t);
  const bytes = seededBytes('moving', { start: 0, end: SIZE });
  const digest = seededDigest('moving', SIZE);
  const certificate = await selfSigned();
  const ca = folder.file('ca.pem');
  await writeFile(ca, certificate.cert);
  const authorizations: (string | undefined)[] = [];
  let last = '';
  const secure = await listening(
    createServer(certificate, (request, response) => {
      authorizations.push(request.headers.authorization);
      response.writeHead(302, { Location: `${last}/store?sig=1` }).end();
    }),
  );
  t.after(() => secure.close());
  const plain = await listening(
    createHttpServer((request, response) => {
      if (!request.url?.startsWith('/store')) {
        response.writeHead(307, { Location: `https://${secure.host}/signed?sig=0` }).end();
        return;
      }
      const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
      const start = Number(range?.[1] ?? 0);
      const end = Math.min(Number(range?.[2] ?? SIZE - 1) + 1, SIZE);
      const headers = { 'Content-Length': end - start, 'Content-Range': `bytes ${start}-${end - 1}/${SIZE}` };
      response.writeHead(range === null ? 200 : 206, headers).end(bytes.subarray(start, end));
    }),
  );
  t.after(() => plain.close());
  last = plain.url;
  const { url } = await node(t, folder, [
    `origins=${JSON.stringify([
      { host: plain.host, insecure: true },
      { host: secure.host, ca },
    ])}`,
    `proxy.defaultOrigin=${plain.url}`,
  ]);
  for (const ranged of [true, false]) {
    const headers = { Authorization: 'Bearer t', ...(ranged && { Range: 'bytes=10-19' }) };
    const answer = await httpGet(`${url}/v2/lab/x/blobs/${digest}`, { headers });
    assert.equal(answer.status, ranged ? 206 : 200);
    assert.ok(answer.body.equals(ranged ? bytes.subarray(10, 20) : bytes));
  }
  assert.ok(authorizations.length > 0);
  assert.deepEqual(authorizations.filter(Boolean), [], 'a credential went to another host');
});

test('a registry with a certificate that nobody signed is an unreachable one, and says how', async (t) => {
  const folder = await tempFolder(t);
  const origin = await startOrigin({ tls: await selfSigned() });
  t.after(() => origin.close());
  const blob = origin.repository('lab/x').addBlob({ size: 100, seed: 'x' });
  const { url } = await node(t, folder, [
    `origins=${JSON.stringify([{ host: origin.host }])}`,
    `proxy.defaultOrigin=${origin.host}`,
  ]);
  const answer = await httpGet(url + blob.path, { headers: { Range: 'bytes=0-9' } });
  assert.ok([502, 503].includes(answer.status), String(answer.status));
  assert.equal(origin.requests.length, 0);
});
