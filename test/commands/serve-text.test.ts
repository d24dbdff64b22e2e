import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerId } from '../../peer/member.ts';
import { readyText } from '../../src/commands/serve-text.ts';
import type { PeerPresence } from '../../src/peer-presence.ts';

const ADDRESSES = {
  proxy: ['127.0.0.1:4001', 'unix:/run/d.sock'],
  admin: ['127.0.0.1:4003'],
  metrics: ['[::1]:4002'],
};
const PEER: PeerPresence = {
  id: '12D3KooWGzBxkgrbtGYX5k6TUrgKpDMVSzrnrSjY7mfrVQ1SZ6N4' as PeerId,
  transport: 'auto',
  listen: { data: ['0.0.0.0:4005'], control: ['/ip4/0.0.0.0/tcp/4006'] },
  announced: { data: ['10.0.0.5:4005'], control: ['/ip4/10.0.0.5/tcp/4006'] },
  discovery: { static: 2, dns: 1, mdns: 0, bootstrap: 0 },
};

test('a node without peers: its ports', () => {
  assert.equal(
    readyText('1.2.3', { addresses: ADDRESSES, peer: undefined }),
    `damselfly 1.2.3 serves
  proxy    127.0.0.1:4001, unix:/run/d.sock
  admin    127.0.0.1:4003
  metrics  [::1]:4002`,
  );
});

test('with peers: where they reach it, who it is to them, and from where it learns of them', () => {
  const shown = readyText('1.2.3', { addresses: ADDRESSES, peer: PEER }).split('\n').slice(4);
  assert.deepEqual(shown, [
    '  peers    0.0.0.0:4005, /ip4/0.0.0.0/tcp/4006',
    '           announced as 10.0.0.5:4005, /ip4/10.0.0.5/tcp/4006',
    '           peer …VQ1SZ6N4, transport auto, 3 discovery sources (2 static, 1 dns)',
  ]);
});

test('a node that nobody told of others says that it waits', () => {
  const discovery = { static: 0, dns: 0, mdns: 0, bootstrap: 0 };
  const shown = readyText('1.2.3', { addresses: ADDRESSES, peer: { ...PEER, discovery } });
  assert.match(shown, /, transport auto, no discovery source \(it waits to be found\)$/);
  const one = readyText('1.2.3', {
    addresses: ADDRESSES,
    peer: { ...PEER, discovery: { ...discovery, mdns: 1 } },
  });
  assert.match(one, /, 1 discovery source \(1 mdns\)$/);
});
