import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Connection, Libp2p } from '@libp2p/interface';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { Complaints } from '../../../peer/membership/complaints.ts';
import { Connections } from '../../../peer/membership/connections.ts';
import type { NetworkProtector } from '../../../peer/membership/network-protector.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { NO_METRICS } from './no-metrics.ts';

/** As much of a connection as is looked at. */
function fakeConnection(protocols: string[]) {
  const fake = { streams: protocols.map((protocol) => ({ protocol })), isClosed: false };
  return Object.assign(fake, {
    close: async () => {
      fake.isClosed = true;
    },
  });
}

describe('Connections', () => {
  it('closes what nobody has used for ten seconds', () => {
    const used = fakeConnection(['/damselfly/members/1']);
    const idle = fakeConnection(['/ipfs/id/1.0.0']);
    const fresh = fakeConnection([]);
    const all = [used, idle];
    const node = { getConnections: () => all as unknown as Connection[] } as unknown as Libp2p;
    const connections = new Connections({
      node,
      protector: {} as NetworkProtector,
      keys: NetworkKeys.insecure(),
      metrics: NO_METRICS,
      complaints: new Complaints(silentLogger),
      protocols: new Set(['/damselfly/members/1']),
    });
    connections.tidy(0);
    connections.tidy(9_000);
    all.push(fresh);
    connections.tidy(11_000);
    assert.deepEqual([used.isClosed, idle.isClosed, fresh.isClosed], [false, true, false]);
    used.streams.length = 0;
    connections.tidy(12_000);
    connections.tidy(21_000);
    assert.equal(used.isClosed, false);
    connections.tidy(23_000);
    assert.deepEqual([used.isClosed, fresh.isClosed], [true, true]);
  });
});
