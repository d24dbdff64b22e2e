import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyFromEnvironment } from '../../src/origin/proxy-env.ts';

const PROXIES = { HTTP_PROXY: 'http://plain:1', HTTPS_PROXY: 'http://tls:2' };

function proxyOf(url: string, env: Record<string, string>): string | undefined {
  return proxyFromEnvironment(env)(new URL(url));
}

test('the scheme of the target picks the variable; lower case wins; a scheme may be left out', () => {
  assert.equal(proxyOf('http://a.example/', PROXIES), 'http://plain:1');
  assert.equal(proxyOf('https://a.example/', PROXIES), 'http://tls:2');
  assert.equal(proxyOf('https://a.example/', { HTTP_PROXY: 'http://plain:1' }), undefined);
  assert.equal(proxyOf('https://a.example/', { ...PROXIES, https_proxy: 'low:3' }), 'http://low:3');
  assert.equal(proxyOf('https://a.example/', { HTTPS_PROXY: '' }), undefined);
});

test('loopback targets never go through a proxy', () => {
  for (const url of ['http://127.0.0.1:5000/', 'https://localhost/', 'http://[::1]:80/'])
    assert.equal(proxyOf(url, PROXIES), undefined, url);
});

test('NO_PROXY takes hosts, domains, ports, addresses and the star', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['a.example', 'https://a.example/', true],
    ['a.example', 'https://b.a.example/', true],
    ['a.example', 'https://xa.example/', false],
    ['.a.example', 'https://b.a.example/', true],
    ['.a.example', 'https://a.example/', true],
    ['*.a.example', 'https://b.a.example/', true],
    ['*.a.example', 'https://a.example/', false],
    ['a.example:8443', 'https://a.example:8443/', true],
    ['a.example:8443', 'https://a.example/', false],
    ['a.example:443', 'https://A.example./', true],
    ['10.0.0.1', 'https://10.0.0.1/', true],
    ['fd00::1', 'https://[fd00::1]/', true],
    ['[fd00::1]:443', 'https://[fd00::1]/', true],
    ['x.example, a.example', 'https://a.example/', true],
    ['*', 'https://a.example/', true],
    ['', 'https://a.example/', false],
  ];
  for (const [NO_PROXY, url, direct] of cases) {
    assert.equal(proxyOf(url, { ...PROXIES, NO_PROXY }) === undefined, direct, `${NO_PROXY} ${url}`);
  }
});
