import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { openTunnel } from '../../support/connect.ts';
import { httpGet } from '../../support/http-get.ts';
import { selfSigned, startOrigin, type TestOrigin } from '../../support/origin.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { clientLab } from '../clients/support/lab.ts';
import { startNode } from '../support/node.ts';

const REPOSITORY = 'library/image';

async function origins<Name extends string>(
  t: TestContext,
  names: readonly Name[],
): Promise<Record<Name, TestOrigin>> {
  const entries = names.map(async (name) => {
    const origin = await startOrigin();
    t.after(() => origin.close());
    return [name, origin] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as Record<Name, TestOrigin>;
}

test('8.1 one port takes origin form, absolute form, a prefix and CONNECT, and leaves // and queries as they are', async (t) => {
  const { node, origin, layers } = await clientLab(t);
  const [layer] = layers;
  const odd = '/a//b/../%2F?x=http://elsewhere.example//y&z=%20?';
  const forms = {
    origin: (path: string) => path,
    absolute: (path: string) => origin.url + path,
    prefix: (path: string) => `/dadip2p/${origin.url}${path}`,
  };
  for (const [form, targetOf] of Object.entries(forms)) {
    const answer = await httpGet(node.url, {
      target: targetOf(layer.path),
      headers: { Range: 'bytes=5-99' },
    });
    assert.equal(answer.status, 206, form);
    assert.ok(answer.body.equals(layer.bytes(5, 100)), form);
    origin.reset();
    const passed = await httpGet(node.url, { target: targetOf(odd) });
    assert.equal(passed.status, 404, form);
    assert.deepEqual(
      // What follows the range may be read ahead meanwhile.
      origin.find(({ path }) => path.startsWith('/a/')).map(({ url }) => url),
      [odd],
      form,
    );
  }
  const { status, socket } = await openTunnel(node.url, origin.host);
  socket.destroy();
  assert.equal(status, 200);
});

test('8.2 the origin is that of the URL, then X-Dragonfly-Registry, then ns, then the listener, then the Host name, then the default', async (t) => {
  const folder = await tempFolder(t);
  const all = await origins(t, ['url', 'header', 'ns', 'listener', 'host', 'fallback'] as const);
  const entries = Object.values(all).map(({ host }) => ({
    host,
    insecure: true,
    names: host === all.host.host ? ['named.local'] : [],
  }));
  const listeners = [{ listen: '127.0.0.1:0', origin: all.listener.url }];
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify(entries)}`,
    `proxy.defaultOrigin=${all.fallback.url}`,
    `proxy.listeners=${JSON.stringify(listeners)}`,
  ]);
  t.after(() => node.stop());
  const listener = `http://${node.addresses.proxy[1]}`;
  const path = `/v2/${REPOSITORY}/tags/list`;
  const withNs = `${path}?ns=${all.ns.host}`;
  const header = { 'X-Dragonfly-Registry': all.header.url };
  const named = { Host: 'named.local' };
  const cases: readonly (readonly [TestOrigin, string, string, Record<string, string>])[] = [
    [all.url, listener, all.url.url + withNs, { ...header, ...named }],
    [all.header, listener, withNs, { ...header, ...named }],
    [all.ns, listener, withNs, named],
    [all.listener, listener, path, named],
    [all.host, node.url, path, named],
    [all.fallback, node.url, path, {}],
  ];
  for (const [expected, url, target, headers] of cases) {
    await httpGet(url, { target, headers });
    for (const [name, origin] of Object.entries(all)) {
      assert.equal(origin.requests.length, origin === expected ? 1 : 0, `${target}: ${name}`);
      origin.reset();
    }
  }
});

test('8.2 docker.io and index.docker.io are registry-1.docker.io; an origin that is not allowed is refused', async (t) => {
  const folder = await tempFolder(t);
  const { hub, other } = await origins(t, ['hub', 'other'] as const);
  const blob = hub.repository(REPOSITORY).addBlob({ size: 100, seed: 'hub' });
  const node = await startNode(folder.file('cache'), [
    `origins=${JSON.stringify([{ host: 'registry-1.docker.io', url: hub.url }])}`,
    'proxy.allowOrigins=listed',
  ]);
  t.after(() => node.stop());
  for (const name of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'https://docker.io']) {
    assert.equal((await httpGet(`${node.url}${blob.path}?ns=${encodeURIComponent(name)}`)).status, 200, name);
  }
  for (const headers of [{ 'X-Dragonfly-Registry': other.url }, {}]) {
    const target = 'X-Dragonfly-Registry' in headers ? blob.path : other.url + blob.path;
    const refused = await httpGet(node.url, { target, headers: headers as Record<string, string> });
    assert.equal(refused.status, 503);
  }
  assert.deepEqual(other.requests, []);
});

test('8.3 an absolute http URL of a registry goes upstream by https, at its port or at 443', async (t) => {
  const folder = await tempFolder(t);
  const certificate = await selfSigned();
  await writeFile(folder.file('ca.crt'), certificate.cert);
  const origin = await startOrigin({ tls: certificate });
  t.after(() => origin.close());
  const blob = origin.repository(REPOSITORY).addBlob({ size: 1000, seed: 'secure' });
  const ca = folder.file('ca.crt');
  const entries = [
    { host: origin.host, ca },
    // No port means 443, which is where this entry stands for.
    { host: 'registry.example.test', url: origin.url, ca },
  ];
  const node = await startNode(folder.file('cache'), [`origins=${JSON.stringify(entries)}`]);
  t.after(() => node.stop());
  for (const host of [origin.host, 'registry.example.test', 'registry.example.test:443']) {
    const answer = await httpGet(node.url, { target: `http://${host}${blob.path}` });
    assert.equal(answer.status, 200, host);
    assert.equal(answer.bytes, 1000, host);
  }
});
