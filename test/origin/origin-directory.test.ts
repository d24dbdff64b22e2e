import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OriginId } from '../../src/blob/upstream.ts';
import { hasCode } from '../../src/errors.ts';
import { type DirectoryOptions, OriginDirectory } from '../../src/origin/origin-directory.ts';
import { entry } from './support.ts';

function directory(options: Partial<DirectoryOptions> = {}): OriginDirectory {
  return new OriginDirectory({ origins: [], allowOrigins: 'any', ...options });
}

test('texts that mean the same registry resolve to one origin', () => {
  const plain = directory();
  const same: Record<string, readonly string[]> = {
    'https://registry-1.docker.io': [
      'docker.io',
      'index.docker.io',
      'registry-1.docker.io',
      'https://index.docker.io/v1/',
      'DOCKER.IO',
      'docker.io:443',
      'https://docker.io:443',
      'docker.io.',
      'http://docker.io',
    ],
    'https://reg.example.com': [
      'reg.example.com',
      'REG.Example.com',
      'https://reg.example.com/',
      'reg.example.com:443',
      'https://reg.example.com:443/x/y?z',
      'http://reg.example.com',
    ],
    'https://reg.example.com:5000': [
      'reg.example.com:5000',
      'http://reg.example.com:5000',
      'https://reg.example.com:05000',
    ],
    // "the same port": one that is written stays, though it is http's own.
    'https://reg.example.com:80': ['http://reg.example.com:80', 'reg.example.com:80'],
    'https://[2001:db8::1]:5000': ['[2001:DB8::1]:5000', 'https://[2001:db8:0:0::1]:5000'],
    'https://127.0.0.1': ['0x7f.1', '2130706433', 'http://127.1/'],
    'https://xn--bcher-kva.example': ['bücher.example'],
  };
  for (const [origin, texts] of Object.entries(same)) {
    for (const text of texts) assert.equal(plain.resolve(text), origin, text);
  }
});

test('what names no origin is refused without its text', () => {
  for (const text of [
    '',
    ' ',
    'ftp://reg.example.com',
    'https://',
    'https://user:secret@reg.example.com',
    'a b',
    'reg:99999',
    '*.example.com',
    'reg\\@evil',
    '/v2/',
  ]) {
    assert.throws(
      () => directory().resolve(text),
      (error) => hasCode(error, 'origin-unknown') && !error.message.includes('secret'),
      JSON.stringify(text),
    );
  }
});

test('plain http is policy: insecure entries, and a default or listener origin that is written so', () => {
  const mixed = directory({
    origins: [
      entry('lab.example.com:5000', { insecure: true }),
      entry('old.example.com', { insecure: true }),
      entry('*.plain.example.com:8080', { insecure: true }),
    ],
    defaultOrigin: 'http://10.0.0.5:5000',
    listenerOrigins: ['http://10.0.0.6:5000', 'https://10.0.0.7'],
  });
  const expected: Record<string, string> = {
    'lab.example.com:5000': 'http://lab.example.com:5000',
    'http://lab.example.com:5000': 'http://lab.example.com:5000',
    'https://lab.example.com:5000': 'http://lab.example.com:5000',
    'lab.example.com': 'https://lab.example.com',
    'lab.example.com:5001': 'https://lab.example.com:5001',
    'old.example.com': 'http://old.example.com',
    'http://old.example.com:80': 'http://old.example.com',
    'old.example.com:443': 'https://old.example.com',
    'a.plain.example.com:8080': 'http://a.plain.example.com:8080',
    'plain.example.com:8080': 'https://plain.example.com:8080',
    'a.plain.example.com': 'https://a.plain.example.com',
    'http://10.0.0.5:5000': 'http://10.0.0.5:5000',
    '10.0.0.5:5000': 'http://10.0.0.5:5000',
    'http://10.0.0.5:5001': 'https://10.0.0.5:5001',
    'http://10.0.0.6:5000': 'http://10.0.0.6:5000',
    'http://10.0.0.7': 'https://10.0.0.7',
    'http://10.0.0.8:5000': 'https://10.0.0.8:5000',
  };
  for (const [text, origin] of Object.entries(expected)) assert.equal(mixed.resolve(text), origin, text);
  assert.equal(mixed.defaultOrigin, 'http://10.0.0.5:5000');
  assert.equal(directory({ defaultOrigin: 'docker.io' }).defaultOrigin, 'https://registry-1.docker.io');
});

test('allowOrigins listed takes entries, wildcards, the default and the listeners, and nobody else', () => {
  const strict = directory({
    allowOrigins: 'listed',
    origins: [entry('reg.example.com'), entry('*.corp.example.com:5000'), entry('docker.io')],
    defaultOrigin: 'https://default.example.com',
    listenerOrigins: ['https://listener.example.com:8443'],
  });
  for (const text of [
    'reg.example.com',
    'a.corp.example.com:5000',
    'a.b.corp.example.com:5000',
    'index.docker.io',
    'default.example.com',
    'listener.example.com:8443',
  ]) {
    strict.resolve(text);
  }
  for (const text of [
    'other.example.com',
    'reg.example.com:5000',
    'corp.example.com:5000',
    'a.corp.example.com',
    'xcorp.example.com:5000',
    'listener.example.com',
  ]) {
    assert.throws(
      () => strict.resolve(text),
      (error) => hasCode(error, 'origin-not-listed') && error.status === 503,
      text,
    );
  }
});

test('Host names mean the origin that lists them', () => {
  const named = directory({
    origins: [
      entry('reg.example.com', { names: ['Mirror.Lab:4001', 'hub.lab'] }),
      entry('10.0.0.5:5000', { insecure: true, names: ['lab.lab'] }),
    ],
  });
  assert.equal(named.byHostName('mirror.lab:4001'), 'https://reg.example.com');
  assert.equal(named.byHostName('mirror.lab'), undefined);
  assert.equal(named.byHostName('HUB.lab:4001'), 'https://reg.example.com');
  assert.equal(named.byHostName('lab.lab'), 'http://10.0.0.5:5000');
  assert.equal(named.byHostName('reg.example.com'), undefined);
});

test('settings come from the most exact entry', () => {
  const settings = (origin: string) =>
    directory({
      origins: [
        entry('*.example.com', { credentialsFile: '/wide' }),
        entry('*.eu.example.com', { credentialsFile: '/narrow' }),
        entry('a.eu.example.com', { credentialsFile: '/exact', share: false }),
        entry('moved.example.com', { url: 'https://cache.example.net/hub/' }),
        entry('docker.io', { credentialsFile: '/hub' }),
      ],
    }).settings(origin as OriginId);
  assert.equal(settings('https://x.example.com').credentialsFile, '/wide');
  assert.equal(settings('https://x.eu.example.com').credentialsFile, '/narrow');
  assert.equal(settings('https://a.eu.example.com').credentialsFile, '/exact');
  assert.equal(settings('https://a.eu.example.com').share, false);
  assert.equal(settings('https://registry-1.docker.io').credentialsFile, '/hub');
  assert.equal(settings('https://moved.example.com').baseUrl, 'https://cache.example.net/hub');
  const unknown = settings('https://else.example.org:5000');
  assert.deepEqual(
    { ...unknown },
    {
      origin: 'https://else.example.org:5000',
      baseUrl: 'https://else.example.org:5000',
      redirected: false,
      insecure: false,
      credentialsFile: undefined,
      share: true,
      listed: false,
    },
  );
});

test('an absolute URL goes by https where it must, and stays byte for byte', () => {
  const known = directory({
    origins: [
      entry('lab:5000', { insecure: true }),
      entry('moved.example.com', { url: 'https://cache.example.net/hub' }),
    ],
  });
  const cases: readonly (readonly [string, boolean, string])[] = [
    [
      'http://reg.example.com/v2/a/blobs/x?b=%7e&a=//',
      true,
      'https://reg.example.com/v2/a/blobs/x?b=%7e&a=//',
    ],
    ['http://reg.example.com:8080/v2/', true, 'https://reg.example.com:8080/v2/'],
    ['http://reg.example.com:80/v2/', true, 'https://reg.example.com:80/v2/'],
    ['http://files.example.com/a/../b', false, 'http://files.example.com/a/../b'],
    ['https://files.example.com/b', false, 'https://files.example.com/b'],
    ['http://lab:5000/v2/', true, 'http://lab:5000/v2/'],
    ['https://lab:5000/v2/', true, 'http://lab:5000/v2/'],
    ['http://moved.example.com/v2/', true, 'https://cache.example.net/hub/v2/'],
    ['http://moved.example.com/x', false, 'https://cache.example.net/hub/x'],
    ['HTTP://Files.example.com', false, 'http://Files.example.com/'],
    ['http://files.example.com?q=1#frag', false, 'http://files.example.com/?q=1'],
  ];
  for (const [url, secure, expected] of cases) assert.equal(known.target(url, secure).url, expected, url);
  assert.throws(
    () => known.target('ftp://x/', false),
    (error) => hasCode(error, 'request-malformed'),
  );
});

test('only names without a wildcard list a loopback target, at the same port', () => {
  const known = directory({
    origins: [
      entry('127.0.0.1:5000'),
      entry('*:6000'),
      entry('*.0.0.1:6001'),
      entry('reg.example.com', { url: 'http://127.0.0.1:7000/x' }),
      entry('plain.example.com', { insecure: true }),
    ],
    defaultOrigin: 'http://localhost:8000',
    listenerOrigins: ['https://[::1]'],
  });
  const listed = (url: string) => known.route(new URL(url)).listed;
  for (const url of [
    'http://127.0.0.1:5000',
    'https://127.0.0.1:5000',
    'http://localhost:5000',
    'http://[::1]:5000',
    'http://127.0.0.1:7000',
    'http://localhost:8000',
    'http://127.0.0.1:8000',
    'https://[::1]',
    'http://plain.example.com',
  ]) {
    assert.equal(listed(url), true, url);
  }
  for (const url of [
    'http://127.0.0.1:5001',
    'http://127.0.0.1:6000',
    'http://127.0.0.1:6001',
    'http://127.0.0.2:5001',
    'http://evil.example.com:5000',
    'http://[::1]',
    'http://127.0.0.1',
    'https://plain.example.com',
  ]) {
    assert.equal(listed(url), false, url);
  }
});

test('authorities and proxies of an entry are those of its url, too', () => {
  const known = directory({
    origins: [
      entry('reg.example.com', { url: 'https://cache.example.net', ca: 'PEM', proxy: 'http://proxy:3128' }),
    ],
  });
  for (const url of ['https://reg.example.com/v2/', 'https://cache.example.net/v2/']) {
    assert.deepEqual(known.route(new URL(url)), { ca: 'PEM', proxy: 'http://proxy:3128', listed: true });
  }
  assert.deepEqual(known.route(new URL('https://other.example.net')), {
    ca: undefined,
    proxy: undefined,
    listed: false,
  });
});

test('plain realms: policy alone says where a credential may go without TLS', () => {
  const known = directory({ origins: [entry('lab:5001', { insecure: true })] });
  assert.equal(known.isPlain(new URL('http://lab:5001/token')), true);
  assert.equal(known.isPlain(new URL('http://auth.example.com/token')), false);
});

test('a configured text that is no origin is refused at start', () => {
  assert.throws(
    () => directory({ origins: [entry('user@host')] }),
    (error) => hasCode(error, 'config-invalid'),
  );
  assert.throws(
    () => directory({ defaultOrigin: 'ftp://x' }),
    (error) => hasCode(error, 'config-invalid'),
  );
});
