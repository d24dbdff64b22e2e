import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatAddress, proxyAddress, tcpAddress } from '../../config/address.ts';
import { durationInMs, MAX_AGE_MS } from '../../config/duration.ts';
import { REFUSED } from '../../config/field.ts';
import { dialable, multiaddr } from '../../config/multiaddr.ts';
import { bytesPerSecond, sizeInBytes } from '../../config/size.ts';
import { dnsName, hostPattern, originAddress, originUrl, plainUrl } from '../../config/web.ts';

type Case = readonly [input: unknown, output: unknown];

function check(read: (value: unknown) => unknown, good: readonly Case[], bad: readonly unknown[]): void {
  for (const [input, output] of good) assert.deepEqual(read(input), output, JSON.stringify(input));
  for (const input of bad) assert.equal(read(input), REFUSED, `${JSON.stringify(input)} was accepted`);
}

test('sizes', () => {
  const good: Case[] = [
    [0, 0],
    [1048576, 1048576],
    ['1048576', 1048576],
    ['64MiB', 64 * 2 ** 20],
    ['64 mib', 64 * 2 ** 20],
    ['64Mi', 64 * 2 ** 20],
    ['64MB', 64e6],
    ['1.5GB', 1.5e9],
    ['2TiB', 2 * 2 ** 40],
    ['512B', 512],
    ['512KiB', 512 * 1024],
  ];
  check(sizeInBytes, good, [
    '64M',
    '64 potatoes',
    '-1',
    -1,
    1.5,
    '1.5',
    '1.5B',
    '',
    'MiB',
    '1e3',
    '99999999TiB',
    null,
    true,
    [1],
  ]);
});

test('rates, where 0 is no limit', () => {
  const good: Case[] = [
    ['100MiB/s', 100 * 2 ** 20],
    ['100MiB', 100 * 2 ** 20],
    [1000, 1000],
    [0, Number.POSITIVE_INFINITY],
    ['0', Number.POSITIVE_INFINITY],
  ];
  check(bytesPerSecond, good, ['100MiB/m', '/s', '10Mbit/s']);
});

test('times', () => {
  const good: Case[] = [
    ['2.5s', 2500],
    ['500ms', 500],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
    [0, 0],
  ];
  check(durationInMs(0, MAX_AGE_MS), good, ['3', 3, '3 s', 's', '', '1.s', '-1s', '5min', '4000d', null]);
  check(durationInMs(100, 25_000), [['100ms', 100]], ['99ms', '26s', 0, '0']);
});

test('sizes and times survive being written in any unit', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 20), fc.constantFrom('KiB', 'MiB', 'GiB'), (amount, unit) => {
      const factor = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit];
      assert.equal(sizeInBytes(`${amount}${unit}`), amount * factor);
    }),
  );
  fc.assert(
    fc.property(fc.nat(20), fc.nat(59), fc.nat(59), (h, m, s) => {
      assert.equal(durationInMs(0, MAX_AGE_MS)(`${h}h${m}m${s}s`), ((h * 60 + m) * 60 + s) * 1000);
    }),
  );
});

test('listen addresses', () => {
  const good: Case[] = [
    ['127.0.0.1:4001', { kind: 'tcp', host: '127.0.0.1', port: 4001 }],
    ['localhost:0', { kind: 'tcp', host: 'localhost', port: 0 }],
    ['[::1]:4001', { kind: 'tcp', host: '::1', port: 4001 }],
    ['[::]:4001', { kind: 'tcp', host: '::', port: 4001 }],
  ];
  const bad = [
    '127.0.0.1',
    ':4001',
    '4001',
    4001,
    '127.0.0.1:65536',
    '127.0.0.1:-1',
    '::1:4001',
    '[::1]',
    '[::g]:1',
    '127.0.0.256:1',
    'http://127.0.0.1:4001',
    'a b:1',
    '127.0.0.1:4001 ',
    '',
  ];
  check(tcpAddress, good, [...bad, 'unix:/run/d.sock']);
  check(
    proxyAddress,
    [...good, ['unix:/run/d.sock', { kind: 'unix', path: '/run/d.sock' }]],
    [...bad, 'unix:run/d.sock', 'unix:', `unix:/${'x'.repeat(107)}`],
  );
  for (const [input] of good) {
    const address = tcpAddress(input);
    assert.ok(address !== REFUSED);
    assert.equal(formatAddress(address), input);
  }
});

test('origins', () => {
  const good: Case[] = [
    ['registry.example.com', 'https://registry.example.com'],
    ['Registry.Example.com:443', 'https://registry.example.com'],
    ['http://10.0.0.5:5000/', 'http://10.0.0.5:5000'],
    ['http://10.0.0.5:80', 'http://10.0.0.5'],
    ['127.0.0.1:5000', 'https://127.0.0.1:5000'],
    ['[::1]:5000', 'https://[::1]:5000'],
  ];
  const bad = [
    'ftp://x',
    'https://user:pw@x',
    'https://x/path',
    'https://x?q=1',
    'https://x#f',
    'x/y',
    '',
    'https://',
    'a b',
    'https:///x',
    7,
  ];
  check(originAddress, good, bad);
  check(
    originUrl,
    [
      ['https://x/hub/', 'https://x/hub'],
      ['x:5000', 'https://x:5000'],
    ],
    ['x/hub', 'https://u@x/hub', 'https://x/?q'],
  );
  check(
    plainUrl,
    [['127.0.0.1:4001', 'http://127.0.0.1:4001']],
    bad.filter((value) => value !== 7),
  );
});

test('host patterns', () => {
  const good: Case[] = [
    ['registry.example.com', { host: 'registry.example.com', port: undefined, wildcard: false }],
    ['10.0.0.5:5000', { host: '10.0.0.5', port: 5000, wildcard: false }],
    ['*.Example.com', { host: '*.example.com', port: undefined, wildcard: true }],
    ['*', { host: '*', port: undefined, wildcard: true }],
    ['10.*:5000', { host: '10.*', port: 5000, wildcard: true }],
    ['[::1]:5000', { host: '::1', port: 5000, wildcard: false }],
  ];
  check(hostPattern, good, ['https://x', 'x/y', 'x:0', 'x:y', 'a..b', '', '-a.com', '* .com', '::1']);
});

test('multiaddrs, dialable addresses and DNS names', () => {
  check(
    multiaddr,
    [
      ['/ip4/0.0.0.0/tcp/4006', '/ip4/0.0.0.0/tcp/4006'],
      ['/ip6/::/tcp/0', '/ip6/::/tcp/0'],
      ['/dns/node-a/tcp/4006', '/dns/node-a/tcp/4006'],
    ],
    ['0.0.0.0:4006', '/ip4/::/tcp/1', '/ip4/1.2.3.4/udp/1', '/ip4/1.2.3.4/tcp/70000', '/ip4/1.2.3.4', ''],
  );
  check(
    dialable,
    [
      ['10.0.0.5:4006', '10.0.0.5:4006'],
      ['node-a', 'node-a'],
      ['[fd00::1]:4006', '[fd00::1]:4006'],
      ['/ip4/10.0.0.5/tcp/4006', '/ip4/10.0.0.5/tcp/4006'],
    ],
    ['10.0.0.5:0', 'http://x', 'x:y', '', 4],
  );
  check(
    dnsName,
    [
      ['Svc.ns:4006', 'svc.ns:4006'],
      ['svc.', 'svc.'],
    ],
    ['a b', 'x:0', '', 1],
  );
});
