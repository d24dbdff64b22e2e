import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  controlAddresses,
  dataAddresses,
  type HostAddress,
  hostPortOf,
} from '../../../peer/membership/announce.ts';

const HOST: readonly HostAddress[] = [
  { address: '127.0.0.1', interface: 'lo' },
  { address: '::1', interface: 'lo' },
  { address: '172.17.0.1', interface: 'docker0' },
  { address: '10.0.0.5', interface: 'eth0' },
  { address: 'fd00::5', interface: 'eth0' },
  { address: 'fe80::1', interface: 'eth0' },
];

describe('announced addresses', () => {
  it('are those of the interfaces for a wildcard, bridges last, loopback and link-local not', () => {
    const wildcard = [{ host: '0.0.0.0', port: 4005 }];
    assert.deepEqual(dataAddresses(wildcard, [], HOST), [
      { host: '10.0.0.5', port: 4005 },
      { host: '172.17.0.1', port: 4005 },
    ]);
    assert.deepEqual(
      dataAddresses([{ host: '::', port: 4005 }], [], HOST).map(({ host }) => host),
      ['10.0.0.5', 'fd00::5', '172.17.0.1'],
    );
  });

  it('are what is listened on, and loopback where there is nothing else', () => {
    const loopback = { host: '127.0.0.1', port: 4006 };
    assert.deepEqual(controlAddresses([loopback], [], HOST), ['/ip4/127.0.0.1/tcp/4006']);
    assert.deepEqual(controlAddresses([loopback, { host: '10.0.0.5', port: 4006 }], [], HOST), [
      '/ip4/10.0.0.5/tcp/4006',
    ]);
    assert.deepEqual(dataAddresses([{ host: '0.0.0.0', port: 1 }], [], HOST.slice(0, 1)), [
      { host: '127.0.0.1', port: 1 },
    ]);
  });

  it('are peer.announce alone when it is set, with the data plane on its own port', () => {
    const announce = ['/ip4/203.0.113.7/tcp/14006/p2p/12D3Koo', 'node-a.example', '[2001:db8::7]:5'];
    assert.deepEqual(controlAddresses([{ host: '10.0.0.5', port: 4006 }], announce, HOST), [
      '/ip4/203.0.113.7/tcp/14006',
      '/dns/node-a.example/tcp/4006',
      '/ip6/2001:db8::7/tcp/5',
    ]);
    assert.deepEqual(dataAddresses([{ host: '0.0.0.0', port: 4005 }], announce, HOST), [
      { host: '203.0.113.7', port: 4005 },
      { host: 'node-a.example', port: 4005 },
      { host: '2001:db8::7', port: 4005 },
    ]);
  });

  it('reads a TCP multiaddr', () => {
    assert.deepEqual(hostPortOf('/ip6/::1/tcp/4006'), { host: '::1', port: 4006 });
  });
});
