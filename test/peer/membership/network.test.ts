import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import type { Stream } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { preSharedKey } from '@libp2p/pnet';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { Membership } from '../../../peer/membership/membership.ts';
import { REACH_PROTOCOL } from '../../../peer/membership/wires.ts';
import { eventually } from '../../support/eventually.ts';
import { NO_METRICS } from './no-metrics.ts';
import { recordingLog } from './recording-log.ts';
import { addressOf, agree, NETWORK, startMember } from './swarm.ts';

const STREAMS = 12;
const STREAM_BYTES = 1024 * 1024;

function keys(...network: NetworkKey[]): NetworkKeys {
  return new NetworkKeys(network);
}

function refusals(): { metrics: typeof NO_METRICS; refused: string[] } {
  const refused: string[] = [];
  const exchange: typeof NO_METRICS.exchange = {
    ...NO_METRICS.exchange,
    refused: (_transport, side, why) => void refused.push(`${side} ${why}`),
  };
  return { refused, metrics: { ...NO_METRICS, exchange } };
}

describe('the private network', () => {
  it('refuses strangers, counts each, and says so once on both sides', async (t) => {
    const { log, lines } = recordingLog();
    const { metrics, refused } = refusals();
    const member = await startMember(t, { log, metrics });
    const stranger = recordingLog();
    const other = await startMember(t, {
      keys: keys(NetworkKey.generate()),
      static: [addressOf(member)],
      log: stranger.log,
    });
    await eventually(() => refused.length >= 3, { timeoutMs: 10_000 });
    assert.ok(refused.every((each) => each === 'in network-key'));
    assert.deepEqual(member.live(), [member.self]);
    assert.deepEqual(other.live(), [other.self]);
    assert.deepEqual(
      lines.map((line) => [line.level, line.remote]),
      [['warn', '/ip4/127.0.0.1']],
    );
    assert.equal(stranger.lines.length, 1);
    assert.match(stranger.lines[0]?.msg ?? '', /does not accept the network key/);
    const secret = NETWORK.toBlock().split('\n')[2] ?? '?';
    assert.ok(!JSON.stringify([...lines, ...stranger.lines]).includes(secret));
  });

  it('refuses those that speak in clear, and does not take a connection without a word for a stranger', async (t) => {
    const { metrics, refused } = refusals();
    const member = await startMember(t, { metrics });
    const [host = '', port = ''] = addressOf(member).split(':');
    const quiet = connect(Number(port), host);
    quiet.on('error', () => undefined);
    quiet.end();
    const plain = connect(Number(port), host);
    plain.on('error', () => undefined);
    plain.write(Buffer.alloc(100, 'GET / HTTP/1.1\r\n'));
    t.after(() => {
      quiet.destroy();
      plain.destroy();
    });
    await eventually(() => refused.length > 0);
    assert.deepEqual(refused, ['in network-key']);
  });

  it('talks with the stock private network of libp2p', async (t) => {
    const member = await startMember(t);
    const stock = await createLibp2p({
      transports: [tcp()],
      connectionProtector: preSharedKey({ psk: Buffer.from(NETWORK.toBlock()) }),
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    });
    t.after(() => stock.stop());
    const connection = await stock.dial(multiaddr(member.listening()[0] ?? ''));
    assert.equal(connection.remotePeer.toString(), member.self.id);
    const stream = await connection.newStream(REACH_PROTOCOL);
    await stream.close();
  });

  it('goes over to another key without a stop', async (t) => {
    const [before, after] = [NetworkKey.generate(), NetworkKey.generate()];
    const nodeKeys = [keys(before), keys(before), keys(before)];
    const first = await startMember(t, { keys: nodeKeys[0] as NetworkKeys });
    const contact = { static: [addressOf(first)] };
    const others = await Promise.all(
      nodeKeys.slice(1).map((each) => startMember(t, { keys: each, ...contact })),
    );
    const all: Membership[] = [first, ...others];
    await eventually(() => agree(all));
    const dials: string[] = [];
    const exchange = { ...NO_METRICS.exchange, dialFailed: (_: string, why: string) => void dials.push(why) };
    const metrics = { ...NO_METRICS, exchange };

    // One has the new key first and dials with it; those that do not have it yet make it fall back to the old one.
    nodeKeys[1]?.replace([after, before]);
    const newer = await startMember(t, { keys: keys(after, before), ...contact, metrics });
    all.push(newer);
    await eventually(() => agree(all));
    assert.deepEqual(dials, []);

    nodeKeys[0]?.replace([after, before]);
    nodeKeys[2]?.replace([after, before]);
    const newest = await startMember(t, { keys: keys(after), ...contact });
    // And one that has not heard of the new key at all.
    const oldest = await startMember(t, { keys: keys(before), ...contact });
    all.push(newest, oldest);
    await eventually(() => agree(all));
  });

  it('puts out whoever came by a key that is no longer accepted', async (t) => {
    const [before, after] = [NetworkKey.generate(), NetworkKey.generate()];
    const own = keys(before, after);
    const member = await startMember(t, { keys: own });
    const old = await startMember(t, { keys: keys(before), static: [addressOf(member)] });
    await eventually(() => agree([member, old]));
    own.replace([after]);
    await eventually(() => member.connected().length === 0);
    await eventually(() => member.find(old.self.id) === undefined, { timeoutMs: 15_000 });
  });

  it('keeps out a member whose frames are none, and says so once', async (t) => {
    const { log, lines } = recordingLog();
    const { metrics, refused } = refusals();
    const member = await startMember(t, { log, metrics });
    const stock = await createLibp2p({
      transports: [tcp()],
      connectionProtector: preSharedKey({ psk: Buffer.from(NETWORK.toBlock()) }),
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    });
    t.after(() => stock.stop());
    const connection = await stock.dial(multiaddr(member.listening()[0] ?? ''));
    for (const frame of [Buffer.from('ffffffff00', 'hex'), Buffer.from('0000000163', 'hex')]) {
      const stream = await connection.newStream('/damselfly/members/1');
      const ended = new Promise((resolve) => stream.addEventListener('close', resolve, { once: true }));
      stream.send(frame);
      await ended;
    }
    assert.deepEqual(refused, ['in protocol', 'in protocol']);
    assert.equal(lines.length, 1);
    assert.match(lines[0]?.msg ?? '', /broke the membership protocol/);
  });

  it('carries much over several connections at once, and outlives the end of each', async (t) => {
    const hub = await startMember(t);
    const others = await Promise.all([1, 2, 3].map(() => startMember(t, { static: [addressOf(hub)] })));
    await agree([hub, ...others]);
    const received = new Map<string, number>();
    for (const other of others) {
      other.streams.onStream((_from, stream) => {
        stream.addEventListener('message', ({ data }) => {
          received.set(other.self.id, (received.get(other.self.id) ?? 0) + data.byteLength);
        });
      });
    }
    const signal = AbortSignal.timeout(20_000);
    // All at once: what waits for the socket leaves as one text, longer than the memory that ciphers start with.
    await Promise.all(
      others.map(async (other) => {
        const streams: Stream[] = [];
        while (streams.length < STREAMS) streams.push(await hub.streams.open(other.self, 'control', signal));
        for (const stream of streams) stream.send(Buffer.alloc(STREAM_BYTES));
      }),
    );
    await eventually(() => others.every(({ self }) => received.get(self.id) === STREAMS * STREAM_BYTES), {
      timeoutMs: 20_000,
    });
    // An error of a connection's own cipher would end this process.
    for (const other of others) await other.stop();
    await eventually(() => hub.connected().length === 0);
  });
});
