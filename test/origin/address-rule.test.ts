import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { classifyAddress, isLoopbackHost, permittedAddresses } from '../../src/origin/address-rule.ts';

const EXPECTED = {
  ordinary: [
    '93.184.216.34',
    '10.0.0.1',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '198.18.0.1',
    '169.253.255.255',
    '169.255.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    'fd00::1',
    'fc00::1',
    'fd00:ec2::253',
    '::ffff:10.0.0.1',
    '64:ff9b::808:808',
    '2002:0a00:0001::1',
  ],
  loopback: [
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '2002:7f00:0001::1',
    '::7f00:1',
    '::ffff:0:7f00:1',
    '64:ff9b:1::7f00:1',
  ],
  forbidden: [
    '169.254.0.1',
    '169.254.169.254',
    '169.254.170.2',
    '0.0.0.0',
    '0.1.2.3',
    '255.255.255.255',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '192.0.0.192',
    '100.100.100.200',
    '168.63.129.16',
    '::',
    'fe80::1',
    'fe80::1%eth0',
    'febf::1',
    'fec0::1',
    'ff02::1',
    'fd00:ec2::254',
    'FD00:EC2::254',
    'fd00:ec2:0:0::254',
    '::ffff:169.254.169.254',
    '::ffff:a9fe:a9fe',
    '::ffff:0.0.0.0',
    '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::',
    '::a9fe:a9fe',
    '2001:0:1:2:3:4:5601:5601',
    'not an address',
    '',
  ],
} as const;

for (const [kind, addresses] of Object.entries(EXPECTED)) {
  test(`${kind} addresses`, () => {
    for (const address of addresses) assert.equal(classifyAddress(address), kind, address);
  });
}

test('an IPv4 address means the same in every IPv6 form that carries it', () => {
  const ipv4 = fc.oneof(
    fc.ipV4(),
    fc.constantFrom('169.254.169.254', '127.0.0.1', '224.0.0.1', '10.1.2.3', '100.100.100.200'),
  );
  fc.assert(
    fc.property(ipv4, (address) => {
      const hex = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
      const [a, b, c, d] = hex;
      const low = `${a}${b}:${c}${d}`;
      const inverted = hex.map((part) => (Number.parseInt(part, 16) ^ 0xff).toString(16).padStart(2, '0'));
      const forms = [
        `::ffff:${low}`,
        `64:ff9b::${low}`,
        `64:ff9b:1:2:3:4:${low}`,
        `2002:${low}:1::`,
        `::ffff:0:${low}`,
        `2001:0:5:5:5:5:${inverted[0]}${inverted[1]}:${inverted[2]}${inverted[3]}`,
      ];
      for (const form of forms) assert.equal(classifyAddress(form), classifyAddress(address), form);
    }),
  );
});

test('loopback is permitted to what is listed, forbidden addresses to nobody', () => {
  const addresses = ['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', '::'];
  assert.deepEqual(permittedAddresses(addresses, true), ['127.0.0.1', '10.0.0.1', '::1']);
  assert.deepEqual(permittedAddresses(addresses, false), ['10.0.0.1']);
});

test('names of the loopback interface', () => {
  for (const host of ['localhost', 'LOCALHOST', 'a.localhost', '127.0.0.1', '127.8.8.8', '::1'])
    assert.ok(isLoopbackHost(host), host);
  for (const host of ['localhost.example.com', '10.0.0.1', 'notlocalhost', ''])
    assert.ok(!isLoopbackHost(host), host);
});
