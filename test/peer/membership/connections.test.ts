import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Connection, Libp2p } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { Member } from '../../../peer/member.ts';
import { Complaints } from '../../../peer/membership/complaints.ts';
import { Connections } from '../../../peer/membership/connections.ts';
import type { NetworkProtector } from '../../../peer/membership/network-protector.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { eventually } from '../../support/eventually.ts';
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

  it('keeps the connection for pieces that came when nobody waited for it any more', async () => {
    const id = Identity.generate().id;
    const control = ['/ip4/127.0.0.1/tcp/4006'];
    const member: Member = { id, data: [], control, zone: '', epoch: 1 };
    const open = (): Connection =>
      Object.assign(new EventTarget(), {
        status: 'open',
        streams: [],
        remotePeer: id,
        remoteAddr: multiaddr(`${control[0]}/p2p/${id}`),
      }) as unknown as Connection;
    const first = open();
    const dials: PromiseWithResolvers<Connection>[] = [];
    const node = {
      getConnections: () => [first],
      dial: () => {
        const dial = Promise.withResolvers<Connection>();
        dials.push(dial);
        return dial.promise;
      },
    } as unknown as Libp2p;
    const connections = new Connections({
      node,
      protector: { useKey: () => undefined, forgetDial: () => false } as unknown as NetworkProtector,
      keys: NetworkKeys.insecure(),
      metrics: NO_METRICS,
      complaints: new Complaints(silentLogger),
      protocols: new Set(),
    });
    const leaving = new AbortController();
    const asked = connections.forPieces(member, leaving.signal);
    await eventually(() => dials.length === 1);
    leaving.abort(new Error('left'));
    await assert.rejects(asked, /left/);
    const late = open();
    dials[0]?.resolve(late);
    const { signal } = new AbortController();
    assert.equal(await connections.forPieces(member, signal), late);
    assert.equal(await connections.forPieces(member, signal), late);
    assert.equal(dials.length, 1);
    assert.equal(await connections.toMember(member, signal), first);
    late.dispatchEvent(new Event('close') as never);
    void connections.forPieces(member, signal).catch(() => undefined);
    await eventually(() => dials.length === 2);
    dials[1]?.reject(new Error('the test is over'));
  });
});
