import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, beforeEach, test } from 'node:test';
import type { PeerId } from '../../peer/member.ts';
import type { PrefetchEvent } from '../../src/admin/prefetch-events.ts';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { statusText } from '../../src/commands/status-text.ts';
import { type Listening, listening } from '../support/listening.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type CliResult, runCli, startCli } from './run-cli.ts';

const GIB = 2 ** 30;
const STATUS: StatusDocument = {
  version: '0.1.0',
  node: 'v24.21.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeSeconds: 7500,
  health: { healthy: true, since: '2026-01-01T00:00:00.000Z', reasons: [] },
  listen: { proxy: ['127.0.0.1:4001'], metrics: ['127.0.0.1:4002'], admin: ['127.0.0.1:4003'] },
  traffic: {
    servedBytes: { memory: GIB, disk: 2 * GIB, peer: 0, dragonfly: 0, origin: GIB },
    receivedBytes: { peer: 0, dragonfly: 0, origin: GIB },
    requestedBytes: 4 * GIB,
    originBytes: GIB,
    savedBytes: 3 * GIB,
    amplification: 0.25,
  },
  requests: { total: 12, ok: 9, refused: 1, failed: 0, aborted: 2 },
  cache: {
    dir: '/var/lib/damselfly',
    blobs: 3,
    usedBytes: GIB,
    maxBytes: 64 * GIB,
    memoryBytes: 1024,
    maxMemoryBytes: 64 * 2 ** 20,
    degraded: null,
  },
  originRequests: { open: 2, queued: 4 },
  origins: [
    { origin: 'https://registry.example.com', breaker: 'closed' },
    { origin: 'http://10.0.0.5:5000', breaker: 'open' },
  ],
  prefetch: { running: 1, maxRunning: 4 },
  peers: {
    id: '12D3KooWself' as PeerId,
    zone: '',
    epoch: 1,
    listen: { data: ['0.0.0.0:4005'], control: ['/ip4/0.0.0.0/tcp/4006'] },
    members: [],
    memberCount: 7,
    totals: { live: 6, suspect: 0, quarantined: 1, zones: 1, receivedBytes: 3 * GIB, sentBytes: GIB },
    planning: { segments: 14, waiting: 2, leases: 3 },
    transfers: [],
  },
  recentErrors: [
    { at: '2026-01-01T01:00:00.000Z', code: 'origin-timeout', message: 'slow', remedy: 'Wait', count: 3 },
  ],
  warnings: ['peer.insecure: …'],
};

let node: Listening;
let folder: TempFolder;
let asked: {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage['headers'];
  body: string;
}[] = [];
let answer: (response: ServerResponse, body: string) => void;

before(async () => {
  folder = await tempFolder();
  node = await listening(
    createServer(async (request, response) => {
      const body = await text(request);
      asked.push({ method: request.method, url: request.url, headers: request.headers, body });
      answer(response, body);
    }),
  );
});
after(async () => {
  await node.close();
  await folder.remove();
});
beforeEach(() => {
  asked = [];
});

function cli(...args: string[]): Promise<CliResult> {
  return runCli([...args, '--admin', node.host]);
}

test('status shows what the node did, for people and for scripts', async () => {
  answer = (response) => response.end(JSON.stringify(STATUS));
  const [people, script] = await Promise.all([cli('status'), cli('status', '--json')]);
  assert.equal(people.code, 0, people.stderr);
  assert.equal(people.stdout, `${statusText(STATUS)}\n`);
  assert.deepEqual(script.json(), JSON.parse(JSON.stringify(STATUS)));
  assert.equal(asked[0]?.method, 'GET');
  assert.equal(asked[0]?.url, '/api/v1/status');
  assert.deepEqual(statusText(STATUS).split('\n'), [
    'damselfly 0.1.0 on Node 24.21.0, up 2 h 5 min, healthy',
    '',
    'served      4.0 GiB: memory 1.0 GiB (25 %), disk 2.0 GiB (50 %), origin 1.0 GiB (25 %)',
    'from origin 1.0 GiB for 4.0 GiB asked for (0.25×): 3.0 GiB of egress saved (75 %)',
    'requests    12: ok 9, refused 1, failed 0, aborted by the client 2',
    'cache       3 blobs, 1.0 GiB of 64.0 GiB (1 %) in /var/lib/damselfly',
    '            memory 1.0 KiB of 64.0 MiB',
    'origins     https://registry.example.com: ok',
    '            http://10.0.0.5:5000: FAILING, tried once a second',
    'listening   proxy 127.0.0.1:4001',
    '            metrics 127.0.0.1:4002',
    '            admin 127.0.0.1:4003',
    'peers       7: 6 live, 1 quarantined, in 1 zone',
    '            3.0 GiB from them, 1.0 GiB to them; plans 14 segments, 3 of their pieces leased out, 2 questions waiting',
    'prefetch    1 of 4 running',
    'warnings    peer.insecure: …',
    'errors      2026-01-01T01:00:00.000Z origin-timeout: slow (3 times). Wait',
  ]);
});

test('status of a fresh, an unhealthy and a degraded node', () => {
  const zero = { memory: 0, disk: 0, peer: 0, dragonfly: 0, origin: 0 };
  const fresh = statusText({
    ...STATUS,
    traffic: { ...STATUS.traffic, servedBytes: zero, requestedBytes: 0, originBytes: 0, amplification: null },
    health: { healthy: false, since: '', reasons: ['the disk is full', 'the loop is late'] },
    cache: { ...STATUS.cache, degraded: 'disk-full' },
    origins: [],
  });
  assert.match(fresh, /NOT healthy: the disk is full; the loop is late/);
  assert.match(fresh, /^served {6}nothing yet$/m);
  assert.match(fresh, /^from origin 0 B; nothing was asked for yet$/m);
  assert.match(fresh, /DEGRADED, pieces pass through unkept: disk-full: .*cache\.minFree/);
  assert.match(fresh, /^origins {5}none yet$/m);
});

test('what is no Damselfly is told so', async () => {
  for (const [reply, told] of [
    [(response: ServerResponse) => response.end('<html>'), /what answers at .* is no Damselfly/],
    [(response: ServerResponse) => response.writeHead(404).end(), /answered 404\. Is it the admin address/],
  ] as const) {
    answer = reply;
    const { code, stderr } = await cli('status');
    assert.equal(code, 1);
    assert.match(stderr, told);
    assert.match(stderr, /--admin HOST:PORT/);
  }
});

function event(over: Partial<PrefetchEvent> & { event: PrefetchEvent['event'] }, reference: string): string {
  const state = { reference, blobs: 3, blobsDone: 1, bytesDone: 1000, bytesTotal: 3000 };
  return `${JSON.stringify({ ...state, ...over })}\n`;
}

function stream(response: ServerResponse, body: string): void {
  const { reference } = JSON.parse(body) as { reference: string };
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.write(event({ event: 'start', bytesDone: 0 }, reference));
  const progress = event({ event: 'progress' }, reference);
  response.write(progress.slice(0, 20));
  response.write(progress.slice(20));
  if (reference.includes('bad'))
    response.end(
      event({ event: 'failed', code: 'origin-timeout', message: 'the origin is slow' }, reference),
    );
  else response.end(event({ event: 'done', bytesDone: 3000, blobsDone: 3 }, reference));
}

test('prefetch follows the node through each image and sums up', async () => {
  answer = stream;
  const { code, stdout, stderr } = await cli(
    'prefetch',
    'r.example.com/a:1',
    'r.example.com/b:2',
    '--platform',
    'linux/arm64',
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^r\.example\.com\/a:1: 3 blobs, 2\.9 KiB in .*\/s\)\nr\.example\.com\/b:2: 3 blobs/);
  assert.match(stderr, /^r\.example\.com\/a:1: begins \(2\.9 KiB\)$/m);
  assert.deepEqual(
    asked.map(({ method, url, body }) => [method, url, JSON.parse(body)]),
    [
      ['POST', '/api/v1/prefetch', { reference: 'r.example.com/a:1', platform: 'linux/arm64' }],
      ['POST', '/api/v1/prefetch', { reference: 'r.example.com/b:2', platform: 'linux/arm64' }],
    ],
  );
  assert.equal(asked[0]?.headers['content-type'], 'application/json');
});

test('one that fails does not stop the others, and makes it 1', async () => {
  answer = stream;
  const { code, stderr, json } = await cli('prefetch', 'bad', 'good', '--json');
  assert.equal(code, 1);
  assert.match(stderr, /damselfly prefetch: bad: the origin is slow \[origin-timeout\]/);
  const images = json().images as { seconds: number }[];
  for (const { seconds } of images) assert.match(String(seconds), /^\d+(\.\d{1,3})?$/);
  assert.deepEqual(
    images.map(({ seconds: _, ...rest }) => rest),
    [
      {
        reference: 'bad',
        ok: false,
        blobs: 3,
        bytes: 1000,
        error: { code: 'origin-timeout', message: 'the origin is slow' },
      },
      { reference: 'good', ok: true, blobs: 3, bytes: 3000 },
    ],
  );
});

test("the node's own refusal is told, and a stream that ends early is a failure", async () => {
  answer = (response) =>
    response
      .writeHead(503)
      .end(JSON.stringify({ code: 'prefetch-busy', message: 'all slots are taken; ask again later' }));
  const refused = await cli('prefetch', 'a/b');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /all slots are taken; ask again later \[prefetch-busy\]/);
  answer = (response, body) => response.end(event({ event: 'start' }, JSON.parse(body).reference));
  const early = await cli('prefetch', 'a/b');
  assert.equal(early.code, 1);
  assert.match(early.stderr, /ended the answer before the prefetch was through/);
});

test('the token of admin.tokenFile goes along, and nowhere into the output', async () => {
  answer = stream;
  await writeFile(folder.file('token'), 'hunter2\n', { mode: 0o600 });
  await writeFile(
    folder.file('d.yaml'),
    `admin:\n  listen: 0.0.0.0:${node.port}\n  tokenFile: ${folder.file('token')}\n`,
  );
  const { code, stdout, stderr } = await runCli(['prefetch', 'a/b', '-c', folder.file('d.yaml')]);
  assert.equal(code, 0, stderr);
  assert.equal(asked[0]?.headers.authorization, 'Bearer hunter2');
  assert.doesNotMatch(stdout + stderr, /hunter2/);
});

test('a signal ends a prefetch at once', async () => {
  answer = (response, body) => response.write(event({ event: 'start' }, JSON.parse(body).reference));
  const running = startCli(['prefetch', 'a/b', '--admin', node.host]);
  await running.shows(/begins/);
  running.kill('SIGINT');
  const { code, stderr } = await running.result;
  assert.equal(code, 1);
  assert.match(stderr, /stopped/);
});
