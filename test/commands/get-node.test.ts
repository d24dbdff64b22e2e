import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { after, before, beforeEach, test } from 'node:test';
import { type Listening, listening } from '../support/listening.ts';
import { seededBytes, selfSigned, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type CliResult, runCli } from './run-cli.ts';

/** What a node's proxy port would be asked, and how the command takes its answers. */
const BYTES = seededBytes('through', { start: 0, end: 200_000 });
let origin: TestOrigin;
let blob: TestBlob;
let node: Listening;
let folder: TempFolder;
let asked: IncomingMessage[] = [];
let answer: (request: IncomingMessage, response: ServerResponse) => void = serveBlob;

before(async () => {
  origin = await startOrigin();
  blob = origin.repository('app').addBlob({ size: BYTES.length, seed: 'through' });
  folder = await tempFolder();
  node = await listening(createServer(take));
});
after(async () => {
  await node.close();
  await origin.close();
  await folder.remove();
});
beforeEach(() => {
  origin.reset();
  asked = [];
  answer = serveBlob;
});

function take(request: IncomingMessage, response: ServerResponse): void {
  asked.push(request);
  answer(request, response);
}

function serveBlob(request: IncomingMessage, response: ServerResponse): void {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const lines = { 'X-Damselfly-Source': 'disk', 'Content-Length': BYTES.length - start };
  if (request.headers.range === undefined) response.writeHead(200, lines);
  else
    response.writeHead(206, {
      ...lines,
      'Content-Range': `bytes ${start}-${BYTES.length - 1}/${BYTES.length}`,
    });
  response.end(BYTES.subarray(start));
}

let count = 0;
async function get(target: string, more: readonly string[] = []): Promise<CliResult & { file: string }> {
  count += 1;
  const file = folder.file(`out-${count}`);
  return { ...(await runCli(['get', target, '-O', file, '--json', '--node', node.host, ...more])), file };
}

test('a blob goes in mirror form, with its registry in a header', async () => {
  const { code, stderr, json, file } = await get(`${origin.url}${blob.path}?a=b`);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
  assert.equal(asked[0]?.url, `${blob.path}?a=b`);
  assert.equal(asked[0]?.headers['x-dragonfly-registry'], origin.url);
  assert.equal(asked[0]?.headers.host, node.host);
  assert.equal(asked[0]?.headers.range, undefined);
  assert.match(asked[0]?.headers['user-agent'] ?? '', /^damselfly\//);
  const { through, source, verified } = json();
  assert.deepEqual({ through, source, verified }, { through: 'node', source: 'disk', verified: true });
  assert.equal(stderr, '');
  assert.equal(origin.requests.length, 0);
});

test('a layer is found by its digest where the registry answers 500 for it as a manifest', async () => {
  // docker's registry 2.8 does; the node makes a 502 of it, and is asked for the layer all the same.
  origin.fault({ match: { endpoint: 'manifest' }, action: { status: 500 } });
  answer = (request, response) => {
    if (request.url?.includes('/manifests/') !== true) return serveBlob(request, response);
    response.writeHead(502).end();
  };
  const { code, stderr, json } = await get(`oci://${origin.host}/app@${blob.digest}`);
  assert.equal(code, 0, stderr);
  assert.equal(json().through, 'node');
  assert.equal(stderr, '');
});

test('any other URL goes in absolute form, as an object', async () => {
  const { code, json } = await get('http://bucket.example.com/path//x?sig=1', ['-H', 'X-Mine: 1']);
  assert.equal(code, 0);
  assert.equal(asked[0]?.url, 'http://bucket.example.com/path//x?sig=1');
  assert.equal(asked[0]?.headers.host, 'bucket.example.com');
  assert.equal(asked[0]?.headers['x-dragonfly-use-p2p'], 'true');
  assert.equal(asked[0]?.headers['x-mine'], '1');
  assert.equal(json().url, 'http://bucket.example.com/path//x');
  assert.equal((await get('https://bucket.example.com/x')).code, 0);
  assert.equal(asked[1]?.url, 'https://bucket.example.com/x');
});

test('a node that cannot, or that refuses the address, is left for the origin', async () => {
  for (const [status, headers, why] of [
    [502, {}, /answered 502; going on directly/],
    [503, {}, /answered 503; going on directly/],
    [504, {}, /answered 504; going on directly/],
    [403, { 'X-Dragonfly-Error-Type': 'proxy' }, /does not serve this address; going on directly/],
  ] as const) {
    asked = [];
    answer = (_, response) => response.writeHead(status, headers).end('{}');
    const { code, stderr, json, file } = await get(origin.url + blob.path);
    assert.equal(code, 0, stderr);
    assert.match(stderr, why);
    assert.deepEqual(await readFile(file), BYTES);
    assert.equal(json().through, 'direct');
    assert.equal(asked.length, 1);
  }
});

test("the origin's own refusals that a node passes on are final", async () => {
  for (const status of [401, 403, 404]) {
    answer = (_, response) => response.writeHead(status).end();
    const { code, stderr } = await get(origin.url + blob.path);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`answered ${status}; `));
  }
  assert.equal(origin.requests.length, 0);
});

test('a node that breaks off is asked for the rest, and left when it does so again and again', async () => {
  let answers = 0;
  answer = (request, response) => {
    answers += 1;
    if (answers > 1) return serveBlob(request, response);
    response.writeHead(200, { 'Content-Length': BYTES.length });
    response.write(BYTES.subarray(0, 65_536), () => response.destroy());
  };
  const resumed = await get(origin.url + blob.path);
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(await readFile(resumed.file), BYTES);
  assert.match(asked[1]?.headers.range ?? '', /^bytes=\d+-199999$/);
  assert.equal(resumed.json().through, 'node');
  answer = (_, response) => {
    response.writeHead(200, { 'Content-Length': BYTES.length });
    response.flushHeaders();
    response.socket?.resetAndDestroy();
  };
  const left = await get(origin.url + blob.path);
  assert.equal(left.code, 0, left.stderr);
  assert.match(left.stderr, /broke off repeatedly; going on directly/);
  assert.equal(left.json().through, 'direct');
});

test("a challenge that a node passes on is answered, with the registry's token", async (t) => {
  const registry = await startOrigin({ auth: 'token' });
  t.after(() => registry.close());
  const open = registry.repository('open').addBlob(BYTES);
  answer = (request, response) => {
    if (request.headers.authorization?.startsWith('Bearer ')) return serveBlob(request, response);
    const challenge = `Bearer realm="${registry.tokenUrl}",service="test-registry",scope="repository:open:pull"`;
    response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
  };
  const { code, stderr } = await get(registry.url + open.path);
  assert.equal(code, 0, stderr);
  assert.equal(asked.length, 2);
});

test("the node's address comes from the configuration: a wildcard means loopback, unix and TLS work", async (t) => {
  const socket = folder.file('node.sock');
  const unix = createServer(take);
  await new Promise<void>((resolve) => unix.listen(socket, resolve));
  t.after(() => new Promise((resolve) => unix.close(resolve)));
  const certificate = await selfSigned(['some.other.name']);
  const tls = await listening(createTlsServer({ key: certificate.key, cert: certificate.cert }, take));
  t.after(() => tls.close());
  await writeFile(folder.file('cert.pem'), certificate.cert);
  const files = `tls: {certFile: ${folder.file('cert.pem')}, keyFile: ${folder.file('key.pem')}}`;
  for (const proxy of [
    `listen: 0.0.0.0:${node.port}`,
    `listen: ["unix:${socket}", "127.0.0.1:1"]`,
    `listen: 0.0.0.0:${tls.port}\n  ${files}`,
  ]) {
    await writeFile(folder.file('d.yaml'), `proxy:\n  ${proxy}\n`);
    const file = folder.file('by-config');
    const { code, stderr } = await runCli([
      'get',
      origin.url + blob.path,
      '-O',
      file,
      '-c',
      folder.file('d.yaml'),
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /from disk, through the node/, proxy);
  }
  assert.equal(asked.length, 3);
});
