import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { test } from 'node:test';
import type { OriginId } from '../../src/blob/upstream.ts';
import { reasonOf } from '../../src/commands/failure.ts';
import type { Found } from '../../src/doctor/check.ts';
import { checkClock } from '../../src/doctor/checks/clock.ts';
import { checkOrigins } from '../../src/doctor/checks/origins.ts';
import { type OriginProbe, probeOrigin } from '../../src/doctor/host/origin-probe.ts';
import { OriginDirectory, type OriginEntry } from '../../src/origin/origin-directory.ts';
import { Pools } from '../../src/origin/pools.ts';
import { blackHole, listening, refusingAddress } from '../support/listening.ts';
import { selfSigned } from '../support/origin/certificate.ts';

const registry: RequestListener = (request, response) => {
  assert.equal(request.headers.authorization, undefined);
  response.writeHead(401, { 'www-authenticate': 'Bearer realm="x"' }).end();
};

interface Options {
  readonly entry?: Partial<OriginEntry>;
  readonly addresses?: readonly string[];
  readonly unlisted?: boolean;
  readonly signal?: AbortSignal;
}

async function probe(host: string, options: Options = {}): Promise<OriginProbe> {
  const entry = { host, names: [], insecure: false, share: true, ...options.entry };
  const directory = new OriginDirectory({
    origins: options.unlisted === true ? [] : [entry],
    allowOrigins: 'any',
  });
  const resolver = { resolve: async (name: string) => options.addresses ?? [name] };
  const pools = new Pools({
    connections: 1,
    onForbidden: () => undefined,
    resolver,
    proxyForUrl: () => undefined,
  });
  try {
    const signal = options.signal ?? AbortSignal.timeout(8_000);
    return await probeOrigin({ directory, resolver, pools }, directory.resolve(host), signal);
  } finally {
    await pools.close();
  }
}

async function judge(one: OriginProbe, nowMs = Date.now()): Promise<Found[]> {
  const found = await checkOrigins({ probes: Promise.resolve([one]), reasonOf, nowMs });
  for (const { verdict, remedy, what } of found)
    assert.equal(remedy !== undefined, verdict === 'warning' || verdict === 'failed', what);
  return found;
}

test('a registry that asks for a token is well; a server that fails is not; another status is told', async () => {
  await using well = await listening(createServer(registry));
  const entry = { insecure: true };
  const [found] = await judge(await probe(well.host, { entry }));
  assert.equal(found?.verdict, 'ok');
  assert.match(found?.what ?? '', /^answers 401 to GET \/v2\/ in \d+ ms$/);
  await using failing = await listening(createServer((_, response) => response.writeHead(503).end()));
  assert.equal((await judge(await probe(failing.host, { entry })))[0]?.verdict, 'failed');
  await using store = await listening(createServer((_, response) => response.writeHead(404).end()));
  const [other] = await judge(await probe(store.host, { entry }));
  assert.equal(other?.verdict, 'ok');
  assert.match(other?.what ?? '', /no registry/);
});

test('refused, unresolved, forbidden and silent ones say which of it', { timeout: 20_000 }, async () => {
  const refusing = await refusingAddress();
  const [refused] = await judge(await probe(refusing, { entry: { insecure: true } }));
  assert.equal(refused?.verdict, 'failed');
  assert.match(refused?.what ?? '', /cannot be reached/);
  const [named] = await judge(await probe('registry.test', { addresses: [] }));
  assert.match(named?.what ?? '', /the name registry\.test does not resolve/);
  const [forbidden] = await judge(await probe('registry.test', { addresses: ['169.254.169.254'] }));
  assert.match(forbidden?.what ?? '', /which nodes never read/);
  const [loopback] = await judge(await probe(refusing, { unlisted: true }));
  assert.match(loopback?.what ?? '', /unlisted loopback/);
  await using silent = await blackHole();
  const signal = AbortSignal.timeout(300);
  const [late] = await judge(await probe(silent.host, { entry: { insecure: true }, signal }));
  assert.equal(late?.verdict, 'failed');
});

test('certificates: trusted, soon to end, ended, of a stranger, of another name', async () => {
  const cases = [
    [await selfSigned(undefined, { toDays: 90 }), true, ['ok'], /answers 401/],
    [await selfSigned(undefined, { toDays: 5 }), true, ['ok', 'warning'], /expires in 4 days/],
    [await selfSigned(undefined, { fromDays: -3, toDays: -1 }), true, ['failed'], /has expired/],
    [await selfSigned(undefined, { toDays: 90 }), false, ['failed'], /unknown authority/],
    [await selfSigned(['else.example'], { toDays: 90 }), true, ['failed'], /for another name/],
  ] as const;
  for (const [certificate, isTrusted, verdicts, told] of cases) {
    await using origin = await listening(createTlsServer(certificate, registry));
    const entry = isTrusted ? { ca: certificate.cert } : {};
    const found = await judge(await probe(origin.host, { entry }));
    assert.deepEqual(
      found.map(({ verdict }) => verdict),
      verdicts,
      String(told),
    );
    assert.match(found.at(-1)?.what ?? '', told);
  }
});

test('an origin behind a proxy is asked through it', async () => {
  const asked: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '');
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  await using listened = await listening(proxy);
  const one = await probe('registry.test', { entry: { proxy: listened.url } });
  assert.deepEqual(asked, ['registry.test:443']);
  const [found] = await judge(one);
  assert.equal(found?.verdict, 'failed');
  assert.match(found?.what ?? '', /through the proxy/);
});

test('no configured origin is nothing to check', async () => {
  const found = await checkOrigins({ probes: Promise.resolve([]), reasonOf, nowMs: 0 });
  assert.equal(found[0]?.verdict, 'skipped');
});

function told(offsetMs: number | undefined, origin = 'https://a.example'): OriginProbe {
  const clock = offsetMs === undefined ? undefined : { theirsMs: 1_000_000, oursMs: 1_000_000 + offsetMs };
  return {
    origin: origin as OriginId,
    url: `${origin}/v2/`,
    viaProxy: false,
    tookMs: 1,
    certificate: undefined,
    answer: { status: 200, challenged: false, clock },
    trouble: undefined,
  };
}

test('the clock: right, ahead, behind, one origin that is wrong, nobody to ask', async () => {
  const clock = async (...offsets: (number | undefined)[]) =>
    (await checkClock({ probes: Promise.resolve(offsets.map((one) => told(one))) }))[0];
  assert.equal((await clock(30_000))?.verdict, 'ok');
  assert.match((await clock(31_000))?.what ?? '', /31 s ahead of/);
  assert.match((await clock(-45_000))?.what ?? '', /45 s behind/);
  assert.equal((await clock(-45_000))?.verdict, 'warning');
  assert.equal((await clock(200, 90_000_000, 300))?.verdict, 'ok');
  assert.equal((await clock(undefined))?.verdict, 'skipped');
  await using origin = await listening(
    createServer((_, response) => {
      response.setHeader('date', new Date(Date.now() - 600_000).toUTCString()).end();
    }),
  );
  const late = await probe(origin.host, { entry: { insecure: true } });
  assert.match(
    (await checkClock({ probes: Promise.resolve([late]) }))[0]?.what ?? '',
    /(599|600|601) s ahead/,
  );
});
