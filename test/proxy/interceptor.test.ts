import assert from 'node:assert/strict';
import { createConnection, createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import type { HostPattern } from '../../config/web.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { CertificateAuthority } from '../../src/proxy/certificate-authority.ts';
import { Interceptor, type InterceptorParts } from '../../src/proxy/interceptor.ts';
import { makeAuthority } from '../support/authority.ts';
import { eventually } from '../support/eventually.ts';
import { listening } from '../support/listening.ts';

const pattern = (host: string, port?: number): HostPattern => ({ host, port, wildcard: host.includes('*') });

async function make(parts: Partial<InterceptorParts> = {}) {
  const authority = await CertificateAuthority.load(await makeAuthority());
  const metrics = new Metrics();
  const minted: string[] = [];
  const counting = {
    leaf: (host: string) => {
      minted.push(host);
      return authority.leaf(host);
    },
  };
  const interceptor = new Interceptor({
    hosts: [pattern('*.example')],
    authority: counting,
    metrics,
    ...parts,
  });
  return { interceptor, metrics, minted };
}

async function connectionTo(t: TestContext, interceptor: Interceptor) {
  const adopt = () => assert.fail('nothing came');
  const take = await interceptor.prepare({ host: 'a.example', port: 443 }, adopt);
  const server = await listening(createServer({ allowHalfOpen: true }, take));
  t.after(() => server.close());
  return createConnection({ port: server.port, host: '127.0.0.1' });
}

describe('the hosts that are intercepted', () => {
  it('are those that are named, at port 443 or the one that is written', async () => {
    const { interceptor } = await make({
      hosts: [pattern('reg.example'), pattern('*.lab.example', 5000), pattern('fd00::1')],
    });
    const takes = (host: string, port = 443) => interceptor.takes({ host, port });
    assert.equal(takes('reg.example'), true);
    assert.equal(takes('reg.example.'), true);
    assert.equal(takes('[fd00::1]'), true);
    assert.equal(takes('a.lab.example', 5000), true);
    assert.equal(takes('reg.example', 8443), false);
    assert.equal(takes('a.lab.example'), false);
    assert.equal(takes('lab.example', 5000), false);
    assert.equal(takes('xreg.example'), false);
    assert.equal(takes('reg.example.evil'), false);
    assert.equal(takes('regxexample'), false);
  });
});

describe('certificates', () => {
  it('are signed once for each host, also by many at once, and are bounded', async () => {
    const { interceptor, minted } = await make({ maxCertificates: 2 });
    const adopt = () => undefined;
    const ask = (host: string) => interceptor.prepare({ host, port: 443 }, adopt);
    await Promise.all(Array.from({ length: 50 }, () => ask('a.example')));
    assert.deepEqual(minted, ['a.example']);
    await ask('b.example');
    await ask('c.example');
    await ask('a.example');
    assert.equal(minted.length, 4);
  });

  it('that cannot be signed are asked for again', async () => {
    let fails = true;
    const good = await CertificateAuthority.load(await makeAuthority());
    const { interceptor } = await make({
      authority: {
        leaf: async (host) => {
          if (fails) throw new Error('not now');
          return good.leaf(host);
        },
      },
    });
    const adopt = () => undefined;
    await assert.rejects(interceptor.prepare({ host: 'a.example', port: 443 }, adopt), /not now/);
    fails = false;
    await interceptor.prepare({ host: 'a.example', port: 443 }, adopt);
  });
});

it('a client that says nothing, or stops in its ClientHello, is hung up on in time', async (t) => {
  const { interceptor, metrics } = await make({ handshakeMs: 100 });
  for (const bytes of ['', '1603010200010001fc0303']) {
    const socket = await connectionTo(t, interceptor);
    const closed = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
    socket.resume().write(Buffer.from(bytes, 'hex'));
    await closed;
  }
  await eventually(async () => (await metrics.interceptFailures.get()).values[0]?.value === 2);
});
