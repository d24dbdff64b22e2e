import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect as tcpConnect } from 'node:net';
import { test } from 'node:test';
import { digestOf } from '../../src/blob/digest.ts';
import { hasCode } from '../../src/errors.ts';
import type { ConnectorFactory } from '../../src/origin/connector.ts';
import { blackHole, listening } from '../support/listening.ts';
import { startOrigin } from '../support/origin.ts';
import { demand, entry, NEVER, rig } from './support.ts';

/**
 * A connector that notes which addresses it would dial and then connects to a server of this test instead, so that no
 * packet goes to the addresses themselves.
 */
function recording(server: string): { readonly factory: ConnectorFactory; readonly dialled: string[] } {
  const dialled: string[] = [];
  const [host, port] = server.split(':');
  const factory: ConnectorFactory =
    ({ lookup }) =>
    (target, callback) => {
      const open = (addresses: readonly string[]): void => {
        dialled.push(`${addresses.join(' ')}:${target.port || '-'}`);
        const socket = tcpConnect(Number(port), host, () => callback(null, socket));
        socket.once('error', (error) => callback(error, null));
      };
      if (/^[\d.]+$|:/.test(target.hostname)) open([target.hostname]);
      else
        lookup(target.hostname, { all: true }, (error, found) => {
          if (error !== null) callback(error, null);
          else open((found as { address: string }[]).map(({ address }) => address));
        });
    };
  return { factory, dialled };
}

/** Names for the tests; an answer that is a function is asked each time. */
function names(records: Record<string, readonly string[] | (() => readonly string[])>) {
  return {
    resolve: async (host: string): Promise<readonly string[]> => {
      if (host === 'localhost') return ['127.0.0.1'];
      const record = records[host] ?? (/^[\d.]+$|:/.test(host) ? [host] : []);
      return typeof record === 'function' ? record() : record;
    },
  };
}

/** Serves 200 `ok`, and redirects blobs to `location`. */
async function redirector() {
  const target = { location: '' };
  const server = await listening(
    createServer((request, response) => {
      if (request.url?.startsWith('/v2/') !== true) response.end('ok');
      else response.writeHead(307, { Location: target.location }).end();
    }),
  );
  return { ...server, target };
}

async function setUp(records: Parameters<typeof names>[0] = {}) {
  const server = await redirector();
  const origin = await startOrigin();
  const { factory, dialled } = recording(server.host);
  const parts = rig(origin, {
    connectorFactory: factory,
    resolver: names(records),
    listing: {
      origins: [
        entry('listed.example:5000', { insecure: true }),
        entry('*.wild.example', { insecure: true }),
      ],
    },
  });
  const get = async (url: string): Promise<string> => {
    const answer = await parts.client.forwardUrl({ url, method: 'GET', rawHeaders: [], signal: NEVER });
    return Buffer.concat(await answer.body.toArray()).toString();
  };
  return {
    ...parts,
    get,
    dialled,
    target: server.target,
    async [Symbol.asyncDispose]() {
      await parts.close();
      await origin.close();
      await server.close();
    },
  };
}

const isForbidden = (error: unknown): boolean => hasCode(error, 'target-forbidden') && error.status === 403;

test('literal and resolved addresses that the rule forbids are never dialled, and counted', async () => {
  await using parts = await setUp({
    'metadata.example': ['169.254.169.254'],
    'six.example': ['fd00:ec2::254'],
    'mapped.example': ['::ffff:169.254.169.254'],
    'any.example': ['0.0.0.0'],
    'loop.example': ['127.0.0.1', '::1'],
  });
  const urls = [
    'http://169.254.169.254/',
    'http://[fe80::1]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://0/',
    'http://127.0.0.1:5000/',
    'http://metadata.example/',
    'http://six.example/',
    'http://mapped.example/',
    'http://any.example/',
    'http://loop.example/',
    'http://localhost:5000/',
  ];
  for (const url of urls) await assert.rejects(parts.get(url), isForbidden, url);
  assert.deepEqual(parts.dialled, []);
  assert.equal(await parts.value('damselfly_targets_forbidden_total'), urls.length);
});

test('private ranges are ordinary targets', async () => {
  await using parts = await setUp({ 'lan.example': ['192.168.1.5', 'fd00::5'] });
  for (const url of ['http://10.0.0.1/', 'http://172.16.0.1:8080/', 'http://lan.example/'])
    assert.equal(await parts.get(url), 'ok');
  assert.deepEqual(parts.dialled, ['10.0.0.1:-', '172.16.0.1:8080', '192.168.1.5 fd00::5:-']);
});

test('a loopback address is for what is listed by name and port, never by a wildcard', async () => {
  await using parts = await setUp({
    'listed.example': ['127.0.0.1'],
    'a.wild.example': ['127.0.0.1'],
  });
  assert.equal(await parts.get('http://listed.example:5000/'), 'ok');
  await assert.rejects(parts.get('http://listed.example:5001/'), isForbidden);
  await assert.rejects(parts.get('http://a.wild.example/'), isForbidden);
  assert.deepEqual(parts.dialled, ['127.0.0.1:5000']);
});

test('of a name with good and bad addresses only the good ones are dialled', async () => {
  await using parts = await setUp({ 'mixed.example': ['169.254.169.254', '10.0.0.1', '127.0.0.1'] });
  assert.equal(await parts.get('http://mixed.example/'), 'ok');
  assert.deepEqual(parts.dialled, ['10.0.0.1:-']);
});

test('a name that changes after the check gains nothing: what was checked is what is dialled', async () => {
  let asked = 0;
  await using parts = await setUp({
    'rebind.example': () => (asked++ === 0 ? ['10.0.0.1'] : ['127.0.0.1']),
  });
  assert.equal(await parts.get('http://rebind.example/'), 'ok');
  assert.equal(asked, 1, 'resolved once for check and connection together');
  assert.deepEqual(parts.dialled, ['10.0.0.1:-']);
});

test('every hop of a redirect is under the rule', async () => {
  await using parts = await setUp({
    'listed.example': ['10.0.0.9'],
    'evil.example': ['127.0.0.1'],
    'cdn.example': ['10.0.0.2'],
  });
  const upstream = { ...parts.upstream, origin: parts.directory.resolve('listed.example:5000') };
  const digest = digestOf(Buffer.from('ok'));
  for (const location of [
    'http://169.254.169.254/x',
    'http://evil.example/',
    'http://127.0.0.1:5000/',
    '//[::1]/',
  ]) {
    parts.target.location = location;
    await assert.rejects(parts.open(digest, { start: 0, end: 2 }, { upstream }), isForbidden, location);
  }
  parts.target.location = 'http://cdn.example/file';
  assert.equal(String(await parts.read(digest, { start: 0, end: 2 }, { upstream })), 'ok');
  assert.deepEqual(new Set(parts.dialled), new Set(['10.0.0.9:5000', '10.0.0.2:-']));
});

test('a name that nobody knows, a port that refuses and a peer that is silent are unreachable', async () => {
  await using parts = await setUp();
  await assert.rejects(
    parts.get('http://nobody.example/'),
    (error) => hasCode(error, 'origin-unreachable') && error.status === 502,
  );
});

test('a TLS handshake that does not come about ends within the connect timeout', async () => {
  await using hole = await blackHole();
  await using origin = await startOrigin();
  await using parts = rig(origin, {
    connectTimeoutMs: 60,
    retry: { attempts: 1 },
    listing: { origins: [entry(hole.host)] },
  });
  const upstream = { ...parts.upstream, origin: parts.directory.resolve(hole.host) };
  await assert.rejects(parts.client.head(upstream, 'x', { ...demand(), followRedirects: false }), (error) =>
    hasCode(error, 'origin-unreachable'),
  );
});
