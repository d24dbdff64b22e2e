import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../peer/member.ts';
import type { SwarmStatus } from '../../peer/status.ts';
import { totalsOf } from '../../peer/status-totals.ts';
import { type AdminPorts, adminApp, MAX_PREFETCH_JOBS } from '../../src/admin/admin-server.ts';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { linesOf, makePorts } from './support.ts';

const REFERENCE = 'registry.example.com/team/app:v1';

async function withApp(
  ports: AdminPorts,
  use: (app: ReturnType<typeof adminApp>) => Promise<void>,
  jobs = { running: 0 },
): Promise<void> {
  const app = adminApp(ports, jobs);
  try {
    await use(app);
  } finally {
    await app.close();
  }
}

/** A POST as the command line sends it. */
function prefetch(
  app: ReturnType<typeof adminApp>,
  body: unknown = { reference: REFERENCE },
  headers: Record<string, string> = {},
  remoteAddress = '127.0.0.1',
) {
  return app.inject({
    method: 'POST',
    url: '/api/v1/prefetch',
    remoteAddress,
    headers: { 'content-type': 'application/json', host: '127.0.0.1:4003', ...headers },
    payload: JSON.stringify(body),
  });
}

test('/healthy is 200 while healthy, 503 with the reasons while not, for GET and HEAD', async () => {
  let healthy = true;
  const ports = makePorts({
    health: () => ({ healthy, since: '', reasons: healthy ? [] : ['the node is stopping'] }),
  });
  await withApp(ports, async (app) => {
    const good = await app.inject('/healthy');
    assert.deepEqual([good.statusCode, good.body], [200, 'ok\n']);
    healthy = false;
    const bad = await app.inject('/healthy');
    assert.deepEqual([bad.statusCode, bad.body], [503, 'the node is stopping\n']);
    assert.equal((await app.inject({ method: 'HEAD', url: '/healthy' })).statusCode, 503);
  });
});

test('the page is HTML that links what there is, and runs nothing', async () => {
  await withApp(makePorts({ version: '1.2.3<x>' }), async (app) => {
    const answer = await app.inject('/');
    assert.equal(answer.statusCode, 200);
    assert.match(String(answer.headers['content-type']), /^text\/html/);
    assert.equal(answer.headers['content-security-policy'], "default-src 'none'");
    for (const part of [
      'href="/api/v1/status"',
      'href="/healthy"',
      'http://127.0.0.1:4002/metrics',
      '1.2.3&#60;x&#62;',
    ]) {
      assert.ok(answer.body.includes(part), part);
    }
  });
});

test('the status document has what the metrics counted', async () => {
  const metrics = new Metrics();
  metrics.traffic.served('disk', 600);
  metrics.traffic.received('origin', 250);
  metrics.requested.inc({ client: 'nydusd' }, 1000);
  metrics.countRequest('nydusd', 'ok', true);
  const ports = makePorts({ totals: () => metrics.totals(), startedAtMs: Date.now() - 90_000 });
  await withApp(ports, async (app) => {
    const answer = await app.inject('/api/v1/status');
    assert.equal(answer.statusCode, 200);
    assert.match(String(answer.headers['content-type']), /^application\/json/);
    assert.equal(answer.headers['cache-control'], 'no-store');
    const status = answer.json<StatusDocument>();
    assert.equal(status.version, '1.2.3');
    assert.ok(status.uptimeSeconds >= 90);
    assert.deepEqual(status.traffic, {
      servedBytes: { memory: 0, disk: 600, peer: 0, dragonfly: 0, origin: 0 },
      receivedBytes: { peer: 0, dragonfly: 0, origin: 250 },
      requestedBytes: 1000,
      originBytes: 250,
      savedBytes: 750,
      amplification: 0.25,
    });
    assert.equal(status.requests.ok, 1);
    assert.deepEqual(status.warnings, ['a warning']);
    assert.deepEqual(status.origins, [{ origin: 'https://registry.example.com', breaker: 'closed' }]);
    assert.equal(status.cache.usedBytes, 10);
    assert.deepEqual(status.listen.admin, ['127.0.0.1:4003']);
  });
});

test('the status document has the swarm as the node tells it, and null while peers are off', async () => {
  const swarm: SwarmStatus = {
    id: '12D3KooWself' as PeerId,
    zone: 'rack-1',
    epoch: 5,
    listen: { data: ['0.0.0.0:4005'], control: ['/ip4/0.0.0.0/tcp/4006'] },
    members: [],
    memberCount: 0,
    totals: totalsOf('rack-1', []),
    planning: { segments: 0, waiting: 0, leases: 0 },
    transfers: [],
  };
  for (const peers of [null, swarm]) {
    await withApp(makePorts({ swarm: () => peers }), async (app) => {
      assert.deepEqual((await app.inject('/api/v1/status')).json<StatusDocument>().peers, peers);
    });
  }
});

test('before anything was requested amplification is null and nothing is saved', async () => {
  const metrics = new Metrics();
  metrics.traffic.received('origin', 250);
  await withApp(makePorts({ totals: () => metrics.totals() }), async (app) => {
    const { traffic } = (await app.inject('/api/v1/status')).json<StatusDocument>();
    assert.equal(traffic.amplification, null);
    assert.equal(traffic.savedBytes, 0);
  });
});

test('prefetch answers a stream of events', async () => {
  const seen: unknown[] = [];
  const ports = makePorts();
  const { prefetchImage } = ports;
  await withApp(
    {
      ...ports,
      prefetchImage: (request, signal) => {
        seen.push(request);
        return prefetchImage(request, signal);
      },
    },
    async (app) => {
      const answer = await prefetch(app, { reference: REFERENCE, platform: 'linux/arm64' });
      assert.equal(answer.statusCode, 200);
      assert.equal(answer.headers['content-type'], 'application/x-ndjson');
      assert.deepEqual(
        linesOf(answer.body).map(({ event }) => event),
        ['done'],
      );
      assert.deepEqual(seen, [{ reference: REFERENCE, platform: 'linux/arm64' }]);
    },
  );
});

for (const [what, body, code] of [
  ['no reference', {}, 'request-malformed'],
  ['an empty reference', { reference: '' }, 'request-malformed'],
  ['a reference that is no text', { reference: 7 }, 'request-malformed'],
  ['an unknown key', { reference: REFERENCE, plattform: 'x' }, 'request-malformed'],
  ['a list', [], 'request-malformed'],
  ['a malformed reference', { reference: 'UPPER/case' }, 'reference-malformed'],
  ['a malformed platform', { reference: REFERENCE, platform: 'linux' }, 'reference-malformed'],
] as const) {
  test(`prefetch with ${what} is 400 ${code} before anything begins`, async () => {
    const jobs = { running: 0 };
    await withApp(
      makePorts({
        prefetchImage: () => {
          throw new Error('begun');
        },
      }),
      async (app) => {
        const answer = await prefetch(app, body);
        assert.equal(answer.statusCode, 400);
        assert.equal(answer.json().code, code);
        assert.equal(jobs.running, 0);
      },
      jobs,
    );
  });
}

test('what is no JSON, too long or somewhere else is refused with a status of its own', async () => {
  await withApp(makePorts(), async (app) => {
    const post = (type: string, payload: string) =>
      app.inject({ method: 'POST', url: '/api/v1/prefetch', headers: { 'content-type': type }, payload });
    assert.equal((await post('application/json', '{')).statusCode, 400);
    assert.equal((await post('text/plain', '{"reference":"alpine"}')).statusCode, 415);
    assert.equal((await post('application/json', JSON.stringify('x'.repeat(70_000)))).statusCode, 413);
    const nowhere = await app.inject('/api/v1/nothing?secret=1');
    assert.equal(nowhere.statusCode, 404);
    assert.equal(nowhere.json().code, 'request-malformed');
    assert.doesNotMatch(nowhere.body, /secret/);
  });
});

test('without a token only callers on this host may prefetch; anybody may look', async () => {
  await withApp(makePorts(), async (app) => {
    for (const remote of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) {
      assert.equal((await prefetch(app, undefined, {}, remote)).statusCode, 200, remote);
    }
    for (const remote of ['10.0.0.7', '192.168.1.2', 'fd00::1', '::ffff:10.0.0.7']) {
      const answer = await prefetch(app, undefined, {}, remote);
      assert.equal(answer.statusCode, 403, remote);
      assert.equal(answer.json().code, 'admin-forbidden');
      assert.match(answer.json().message, /admin\.tokenFile/);
    }
    const looked = await app.inject({ url: '/api/v1/status', remoteAddress: '10.0.0.7' });
    assert.equal(looked.statusCode, 200);
  });
});

test('with a token nobody may prefetch without it, and everybody with it', async () => {
  await withApp(makePorts({ token: 'tok-123' }), async (app) => {
    const none = await prefetch(app);
    assert.equal(none.statusCode, 401);
    assert.equal(none.json().code, 'token-required');
    assert.equal(none.headers['www-authenticate'], 'Bearer realm="damselfly"');
    for (const authorization of [
      'Bearer tok-124',
      'Bearer tok-1234',
      'Basic tok-123',
      'tok-123',
      'Bearer ',
    ]) {
      const wrong = await prefetch(app, undefined, { authorization });
      assert.equal(wrong.statusCode, 401, authorization);
      assert.match(String(wrong.headers['www-authenticate']), /invalid_token/);
      assert.doesNotMatch(wrong.body, /tok-12/);
    }
    for (const authorization of ['Bearer tok-123', 'bearer  tok-123']) {
      assert.equal((await prefetch(app, undefined, { authorization }, '10.0.0.7')).statusCode, 200);
    }
    assert.equal((await app.inject('/api/v1/status')).statusCode, 200);
  });
});

for (const [what, headers, status] of [
  ['a page of another site', { origin: 'https://evil.example.com' }, 403],
  ['a page of another site, told by the browser', { 'sec-fetch-site': 'cross-site' }, 403],
  ['a page of a sister site', { 'sec-fetch-site': 'same-site', origin: 'http://127.0.0.1:9999' }, 403],
  ['a sandboxed page', { origin: 'null' }, 403],
  [
    'a page whose name was made to mean this host',
    { origin: 'http://evil.test:4003', host: 'evil.test:4003' },
    403,
  ],
  ['the own page', { origin: 'http://127.0.0.1:4003', 'sec-fetch-site': 'same-origin' }, 200],
  ['the own page by name', { origin: 'http://localhost:4003', host: 'localhost:4003' }, 200],
  ['the own page by IPv6', { origin: 'http://[::1]:4003', host: '[::1]:4003' }, 200],
  ['no browser', {}, 200],
] as const) {
  test(`prefetch from ${what} is ${status}`, async () => {
    await withApp(makePorts(), async (app) => {
      assert.equal((await prefetch(app, undefined, headers)).statusCode, status);
    });
  });
}

test('jobs are bounded; a slot is free again when its stream has ended', async () => {
  const jobs = { running: MAX_PREFETCH_JOBS };
  await withApp(
    makePorts(),
    async (app) => {
      const busy = await prefetch(app);
      assert.equal(busy.statusCode, 503);
      assert.equal(busy.json().code, 'prefetch-busy');
      assert.equal(busy.headers['retry-after'], '10');
      jobs.running = MAX_PREFETCH_JOBS - 1;
      assert.equal((await prefetch(app)).statusCode, 200);
      assert.equal(jobs.running, MAX_PREFETCH_JOBS - 1);
    },
    jobs,
  );
});

test('a fault of our own is 500 without its text, which goes to the log', async () => {
  const logged: unknown[] = [];
  const log = { error: (facts: unknown) => logged.push(facts) } as unknown as AdminPorts['log'];
  const ports = makePorts({
    log,
    totals: () => {
      throw new TypeError('secret');
    },
  });
  await withApp(ports, async (app) => {
    const answer = await app.inject('/api/v1/status');
    assert.equal(answer.statusCode, 500);
    assert.deepEqual(answer.json(), {
      code: 'internal',
      message: 'A fault of Damselfly itself; the log has its details',
    });
    assert.equal(logged.length, 1);
  });
});
