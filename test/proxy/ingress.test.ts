import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { digestOf } from '../../src/blob/digest.ts';
import { hasCode } from '../../src/errors.ts';
import { parseIngress } from '../../src/proxy/ingress.ts';

const digest = digestOf(Buffer.from('a blob'));
const blobPath = `/v2/library/nginx/blobs/${digest}`;
const blob = { kind: 'blob', repository: 'library/nginx', digest };
const other = { kind: 'other' };

function ingress(method: string, url: string, headers: IncomingHttpHeaders = { host: 'node:4001' }) {
  const rawHeaders = Object.entries(headers).flatMap(([name, value]) => [name, String(value)]);
  return parseIngress({ method, url, headers, rawHeaders });
}

function mirror(resource: object, target: string, more: object = {}) {
  return {
    form: 'mirror',
    resource,
    target,
    registry: undefined,
    namespace: undefined,
    host: { host: 'node', port: 4001 },
    ...more,
  };
}

function refuses(method: string, url: string, headers?: IncomingHttpHeaders): void {
  assert.throws(
    () => ingress(method, url, headers),
    (error) => hasCode(error, 'request-malformed'),
  );
}

describe('health checks', () => {
  for (const url of ['/', '/v2', '/healthy', '/ping', '/server/ping', '/healthy?from=kubelet', '/?x=1']) {
    it(`GET and HEAD ${url} are a ping`, () => {
      assert.deepEqual(ingress('GET', url), { form: 'ping' });
      assert.deepEqual(ingress('HEAD', url), { form: 'ping' });
    });
  }
  it('POST / is not, nor is GET /v2/', () => {
    assert.deepEqual(ingress('POST', '/'), mirror(other, '/'));
    assert.deepEqual(ingress('GET', '/v2/'), mirror({ kind: 'base' }, '/v2/'));
  });
});

describe('mirror form', () => {
  it('reads a blob', () => assert.deepEqual(ingress('GET', blobPath), mirror(blob, blobPath)));

  it('reads a manifest by tag and by digest', () => {
    const byTag = '/v2/a/manifests/v1.0_x';
    assert.deepEqual(
      ingress('HEAD', byTag),
      mirror({ kind: 'manifest', repository: 'a', reference: 'v1.0_x', digest: null }, byTag),
    );
    const byDigest = `/v2/a/manifests/${digest}`;
    assert.deepEqual(
      ingress('GET', byDigest),
      mirror({ kind: 'manifest', repository: 'a', reference: digest, digest }, byDigest),
    );
    const byOther = '/v2/a/manifests/blake3:abc';
    assert.deepEqual(
      ingress('GET', byOther),
      mirror({ kind: 'manifest', repository: 'a', reference: 'blake3:abc', digest: null }, byOther),
    );
  });

  for (const method of ['DELETE', 'PUT', 'POST', 'PATCH', 'OPTIONS', 'PROPFIND'])
    it(`${method} of a blob is only passed on`, () =>
      assert.deepEqual(ingress(method, blobPath), mirror(other, blobPath)));

  const passedOn = [
    '/token?service=x&password=y',
    '/v2/_catalog',
    '/v2//nginx/tags/list',
    '/v2/library/nginx/tags/list/',
    '/v2/library/nginx/referrers/x',
    '/v2/library/nginx/blobs/uploads/',
    '/v2/library/nginx/blobs/uploads/1b9d6bcd',
    '/v2/library/nginx/blobs/',
    '/v2/library/nginx/manifests/',
    '/v2//manifests/v1',
    '/v2/blobs/v1',
    `/v2/blobs/${digest}`,
    `/v2//blobs/${digest}`,
    `/v2//library/nginx/blobs/${digest}`,
    `/v2/library//nginx/blobs/${digest}`,
    `/v2/library/../nginx/blobs/${digest}`,
    `/v2/./nginx/blobs/${digest}`,
    `/v2/library%2Fnginx/blobs/${digest}`,
    `/v2/library/nginx/%62lobs/${digest}`,
    `/v2/Library/nginx/blobs/${digest}`,
    `/v2/-a/blobs/${digest}`,
    `/v2/a..b/blobs/${digest}`,
    `/v2/${'a/'.repeat(127)}aa/blobs/${digest}`,
    `/v2/library/nginx/blobs/${digest.toUpperCase()}`,
    `/v2/library/nginx/blobs/${digest.slice(0, -1)}`,
    `/v2/library/nginx/blobs/${digest}/`,
    `/v2/library/nginx/blobs/${digest}#x`,
    `/v2/library/nginx/blobs/sha256%3A${digest.slice(7)}`,
    `//v2/library/nginx/blobs/${digest}`,
    `/v2/library/nginx/blobs/../blobs/${digest}`,
    '/v2/a/manifests/-x',
    `/v2/a/manifests/${'x'.repeat(129)}`,
    '/v1/search',
    '/v2x',
    '/pings',
  ];
  for (const url of passedOn)
    it(`passes ${url.slice(0, 60)} on byte for byte`, () =>
      assert.deepEqual(ingress('GET', url), mirror(other, url)));

  for (const url of ['/v2/library/nginx/tags/list', `/v2/nginx/referrers/${digest}`, '/v2/a/tags/list?n=2'])
    it(`tells ${url.slice(0, 60)} for a listing`, () =>
      assert.deepEqual(ingress('GET', url), mirror({ kind: 'listing' }, url)));

  it('takes names with every separator, up to 255 characters, and a part called blobs', () => {
    const names = [
      'a',
      'a.b',
      'a_b',
      'a__b',
      'a---b',
      '0/1/2',
      `${'a/'.repeat(127)}a`,
      'x/blobs',
      'manifests',
    ];
    for (const repository of names) {
      const url = `/v2/${repository}/blobs/${digest}`;
      assert.deepEqual(ingress('GET', url), mirror({ kind: 'blob', repository, digest }, url));
    }
  });

  it('takes ns off and leaves every other byte of the query', () => {
    const named = (origin: object, text: string) => ({ namespace: { origin, text } });
    const lab = named({ scheme: 'https', host: 'registry.lab', port: 5000 }, 'registry.lab:5000');
    assert.deepEqual(ingress('GET', `${blobPath}?ns=registry.lab%3A5000`), mirror(blob, blobPath, lab));
    assert.deepEqual(
      ingress('GET', `${blobPath}?a=%2f+b&ns=registry.lab:5000&&c`),
      mirror(blob, `${blobPath}?a=%2f+b&&c`, lab),
    );
    assert.deepEqual(
      ingress('GET', `${blobPath}?ns=registry.lab:5000&ns=registry.lab%3a5000`),
      mirror(blob, blobPath, lab),
    );
    assert.deepEqual(ingress('GET', `${blobPath}?dns=x&tns=y`), mirror(blob, `${blobPath}?dns=x&tns=y`));
    assert.deepEqual(ingress('GET', `${blobPath}?ns=`), mirror(blob, blobPath));
    const broken = ingress('GET', `${blobPath}?ns=registry.lab:5000%0d%0a`);
    assert.ok(broken.form === 'mirror');
    assert.equal(broken.namespace?.text, 'registry.lab:5000', 'it goes into a header line');
    assert.deepEqual(ingress('GET', `${blobPath}?`), mirror(blob, `${blobPath}?`));
  });

  it('refuses an ns that is no origin, not decodable, or two', () => {
    for (const query of ['ns=%zz', 'ns=a%20b', 'ns=u:p@h', 'ns=h/path', 'ns=a&ns=b', 'ns=h:99999'])
      refuses('GET', `${blobPath}?${query}`);
  });

  it('reads X-Dragonfly-Registry as a URL or a host', () => {
    const cases: [string, object][] = [
      ['https://index.docker.io', { scheme: 'https', host: 'index.docker.io', port: undefined }],
      ['https://Registry.Example:8443/', { scheme: 'https', host: 'registry.example', port: 8443 }],
      ['http://127.0.0.1:5000', { scheme: 'http', host: '127.0.0.1', port: 5000 }],
      ['registry.example', { scheme: 'https', host: 'registry.example', port: undefined }],
      ['[::1]:5000', { scheme: 'https', host: '[::1]', port: 5000 }],
    ];
    for (const [value, registry] of cases)
      assert.deepEqual(
        ingress('GET', blobPath, { host: 'node:4001', 'x-dragonfly-registry': value }),
        mirror(blob, blobPath, { registry }),
      );
    assert.deepEqual(
      ingress('GET', blobPath, { host: 'node:4001', 'x-dragonfly-registry': '' }),
      mirror(blob, blobPath),
    );
    for (const value of [
      'ftp://h',
      'https://u:p@h',
      'https://h/path',
      'https://h?q',
      'a, b',
      'https://',
      ':80',
      'h:0',
    ])
      refuses('GET', blobPath, { host: 'h', 'x-dragonfly-registry': value });
  });

  it('goes on without a Host that is a host, and refuses two', () => {
    assert.deepEqual(ingress('GET', blobPath, {}), mirror(blob, blobPath, { host: undefined }));
    assert.deepEqual(ingress('GET', blobPath, { host: 'a b' }), mirror(blob, blobPath, { host: undefined }));
    assert.throws(
      () =>
        parseIngress({
          method: 'GET',
          url: blobPath,
          headers: { host: 'a' },
          rawHeaders: ['Host', 'a', 'HOST', 'b'],
        }),
      (error) => hasCode(error, 'request-malformed'),
    );
  });
});

describe('absolute form', () => {
  const absolute = (
    scheme: string,
    host: string,
    port: number | undefined,
    resource: object,
    target: string,
  ) => ({
    form: 'absolute',
    scheme,
    authority: { host, port },
    resource,
    target,
  });

  it('takes the origin from the URL, and nothing from headers or query', () => {
    const headers = { host: 'elsewhere', 'x-dragonfly-registry': 'https://u:p@h' };
    assert.deepEqual(
      ingress('GET', `http://Registry.Example${blobPath}?ns=x`, headers),
      absolute('http', 'registry.example', undefined, blob, `${blobPath}?ns=x`),
    );
    assert.deepEqual(
      ingress('GET', `HTTPS://h:8443${blobPath}`),
      absolute('https', 'h', 8443, blob, blobPath),
    );
  });

  it('keeps the rest byte for byte', () => {
    assert.deepEqual(
      ingress('GET', 'http://h//a/../b%2f?x=http://y/?z&sig=%2B+'),
      absolute('http', 'h', undefined, other, '//a/../b%2f?x=http://y/?z&sig=%2B+'),
    );
    assert.deepEqual(ingress('GET', 'http://h'), absolute('http', 'h', undefined, other, '/'));
    assert.deepEqual(ingress('GET', 'http://h?a'), absolute('http', 'h', undefined, other, '/?a'));
    assert.deepEqual(ingress('GET', 'http://[::1]:5000/v2/'), {
      ...absolute('http', '[::1]', 5000, { kind: 'base' }, '/v2/'),
    });
    assert.deepEqual(ingress('POST', 'http://h/v2/'), absolute('http', 'h', undefined, other, '/v2/'));
    assert.deepEqual(ingress('GET', 'http://h/'), absolute('http', 'h', undefined, other, '/'));
  });

  it('refuses what names no http host', () => {
    for (const url of [
      'ftp://h/x',
      'http:///x',
      'http://u:p@h/x',
      'http://h:0/x',
      'http://h:x/',
      'h/x',
      '',
      'http:x',
    ])
      refuses('GET', url);
  });
});

describe('prefix form', () => {
  const prefixed = (prefix: string, scheme: string, resource: object, target: string) => ({
    form: 'prefix',
    prefix,
    scheme,
    authority: { host: 'h', port: 80 },
    resource,
    target,
  });

  it('takes the URL after whatever precedes it', () => {
    assert.deepEqual(
      ingress('GET', `/dadip2p/https://h:80${blobPath}`),
      prefixed('/dadip2p', 'https', blob, blobPath),
    );
    assert.deepEqual(
      ingress('GET', '/a/b/http://h:80//c/./d?sig=%2f&u=/http://x'),
      prefixed('/a/b', 'http', other, '//c/./d?sig=%2f&u=/http://x'),
    );
    assert.deepEqual(ingress('GET', '/http://h:80/c'), prefixed('', 'http', other, '/c'));
  });

  it('is not a URL in a query', () => {
    const url = '/v2/a/manifests/v1?from=/https://h:80/x';
    assert.deepEqual(
      ingress('GET', url),
      mirror({ kind: 'manifest', repository: 'a', reference: 'v1', digest: null }, url),
    );
  });

  it('refuses a URL without a usable host', () => {
    for (const url of ['/p/https:///x', '/p/https://u:p@h/x']) refuses('GET', url);
  });
});

describe('other forms', () => {
  it('CONNECT names a host and a port', () => {
    assert.deepEqual(ingress('CONNECT', 'h.example:443'), {
      form: 'authority',
      authority: { host: 'h.example', port: 443 },
    });
    assert.deepEqual(ingress('CONNECT', '[2001:db8::1]:443'), {
      form: 'authority',
      authority: { host: '[2001:db8::1]', port: 443 },
    });
    for (const url of ['h', 'http://h:443', 'h:', 'h:0', 'h:65536', '/x', ':443', 'a b:1', '[::1:443'])
      refuses('CONNECT', url);
  });
  it('OPTIONS * is about the server itself, and * is nothing else', () => {
    assert.deepEqual(ingress('OPTIONS', '*'), { form: 'asterisk' });
    refuses('GET', '*');
  });
});

describe('whatever is sent', () => {
  const piece = fc.constantFrom(
    ...[
      '/',
      '//',
      'v2',
      'blobs',
      'manifests',
      digest,
      'http://',
      'https://',
      '?',
      'ns=',
      '&',
      '%',
      '@',
      ':',
      '[',
      '..',
      '*',
      '#',
      'a',
    ],
    '\u00e9',
  );
  const url = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 14 }).map((parts) => parts.join('')),
  );
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'CONNECT', 'OPTIONS');

  it('nothing but request-malformed is thrown, and a target is the end of what came, less ns', () => {
    fc.assert(
      fc.property(
        method,
        url,
        fc.option(fc.string()),
        fc.option(fc.string()),
        (verb, text, host, registry) => {
          const headers: IncomingHttpHeaders = {};
          if (host !== null) headers.host = host;
          if (registry !== null) headers['x-dragonfly-registry'] = registry;
          try {
            const parsed = ingress(verb, text, headers);
            if (!('target' in parsed)) return;
            assert.ok(parsed.target.startsWith('/'));
            if (parsed.form === 'mirror' && !text.includes('ns=')) assert.equal(parsed.target, text);
            if (parsed.form !== 'mirror')
              assert.ok(`/${text}`.endsWith(parsed.target) || text.endsWith(parsed.target.slice(1)));
            if (parsed.resource.kind === 'blob')
              assert.ok(text.includes(`/${parsed.resource.repository}/blobs/${digest}`));
          } catch (error) {
            if (!hasCode(error, 'request-malformed')) throw error;
            if (text.length > 8) assert.ok(!error.message.includes(text), 'a message never repeats the URL');
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});
