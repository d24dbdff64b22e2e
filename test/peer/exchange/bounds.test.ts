import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { encodeFetch, encodeInquiry } from '../../../peer/exchange/codec.ts';
import { type ExchangeCounters, NO_COUNTERS } from '../../../peer/exchange/counters.ts';
import { FRAME, frame } from '../../../peer/exchange/frame.ts';
import { ALPN, encodeHello } from '../../../peer/exchange/hello.ts';
import type { ExchangeLimits } from '../../../peer/exchange/limits.ts';
import { exporterOf } from '../../../peer/exchange/tls/tls-identity.ts';
import { makeCertificate } from '../../../peer/identity/certificate.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { membershipProof } from '../../../peer/identity/membership-proof.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { hasCode } from '../../../src/errors.ts';
import { Metrics } from '../../../src/observe/metrics.ts';
import { eventually } from '../../support/eventually.ts';
import { ProgrammablePeer } from '../../support/peer/programmable-peer.ts';
import { TlsNetwork, type TlsNode } from '../../support/peer/tls-network.ts';
import { aFetch, anAsk, anInquiry } from '../../support/peer/words.ts';

const never = new AbortController().signal;
const nothing = (): void => undefined;

async function setUp(
  t: TestContext,
  limits: Partial<ExchangeLimits>,
  counters: Partial<ExchangeCounters> = {},
): Promise<{ node: TlsNode; network: TlsNetwork; keys: NetworkKeys }> {
  const keys = new NetworkKeys([NetworkKey.generate()]);
  const network = new TlsNetwork();
  t.after(() => network.close());
  const node = await network.node({ keys, limits, exchange: { counters: { ...NO_COUNTERS, ...counters } } });
  return { node, network, keys };
}

/** A member with a socket of its own that reads nothing after the hello. */
async function deafMember(t: TestContext, node: TlsNode, keys: NetworkKeys): Promise<TLSSocket> {
  const identity = Identity.generate();
  const [address] = node.member.data;
  const socket = connect({
    ...address,
    ...(await makeCertificate(identity)),
    ALPNProtocols: [ALPN],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  t.after(() => socket.destroy());
  socket.on('error', nothing);
  await once(socket, 'secureConnect');
  const scene = {
    exporter: exporterOf(socket),
    role: 'dialler',
    dialler: identity.id,
    listener: node.id,
  } as const;
  socket.write(frame(FRAME.hello, 0, encodeHello([membershipProof(keys.first, scene)])));
  await once(socket, 'readable');
  return socket;
}

describe('bounds of an exchange', () => {
  it('a reader that takes no bytes loses its connection, and what was lent comes back', async (t) => {
    const { node, keys } = await setUp(t, { stallMs: 150, uploadSlots: 32 });
    const socket = await deafMember(t, node, keys);
    const size = 32 * PIECE_BYTES;
    for (let piece = 0; piece < 32; piece += 1)
      socket.write(frame(FRAME.fetch, piece + 1, encodeFetch(aFetch({ size, piece }))));
    await eventually(() => node.handlers.lent > 0);
    await eventually(() => node.exchange.connected().length === 0 && node.handlers.lent === 0);
    assert.deepEqual(node.exchange.load().uploads, { active: 0, queued: 0 });
  });

  it('a member that does not read its answers loses its connection before they pile up', async (t) => {
    const { node, keys } = await setUp(t, {});
    const holders = Array.from({ length: 1000 }, () => ({ peer: node.id, held: 1 }));
    node.handlers.knows = (inquiry) => ({ ...inquiry, size: 1, isFresh: false, holders, leases: [] });
    const socket = await deafMember(t, node, keys);
    for (let tag = 1; tag <= 600; tag += 1)
      socket.write(frame(FRAME.inquiry, tag, encodeInquiry(anInquiry())));
    await eventually(() => node.exchange.connected().length === 0);
  });

  it('more questions at once than the bound fail on the spot, and more than that end the connection', async (t) => {
    const { node, network, keys } = await setUp(t, { maxCalls: 3 });
    const patient = await network.node({ keys });
    const waits = (_fetch: unknown, signal: AbortSignal): Promise<boolean> =>
      new Promise((done) => signal.addEventListener('abort', () => done(false)));
    node.handlers.awaits = waits;
    patient.handlers.awaits = waits;
    const leaving = new AbortController();
    const asked = [0, 1, 2, 3].map((piece) =>
      node.exchange.fetch(patient.member, aFetch({ size: 9 * PIECE_BYTES, piece }), nothing, leaving.signal),
    );
    await assert.rejects(Promise.any(asked.slice(3)), /./);
    leaving.abort(new Error('left'));
    for (const one of asked.slice(0, 3)) await assert.rejects(one, /left/);

    const socket = await deafMember(t, node, keys);
    for (let tag = 1; tag <= 4; tag += 1) socket.write(frame(FRAME.fetch, tag, encodeFetch(aFetch())));
    await eventually(() => node.exchange.connected().length === 1);
  });

  it('past the bound of peers a connection in use is left alone, and goes when it is idle', async (t) => {
    const { node, network, keys } = await setUp(t, { maxPeers: 1 });
    const [busy, other] = [await network.node({ keys }), await network.node({ keys })];
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<boolean>();
    busy.handlers.awaits = () => {
      asked.resolve();
      return answer.promise;
    };
    const fetched = node.exchange.fetch(busy.member, aFetch(), nothing, never);
    await asked.promise;
    await node.exchange.inquire(other.member, anInquiry(), never);
    answer.resolve(true);
    assert.equal((await fetched).kind, 'piece');
    await eventually(() => node.exchange.connected().length === 1);
  });

  it('a connection that nobody uses is closed, and one in use is not', async (t) => {
    const { node, network, keys } = await setUp(t, { idleMs: 40 });
    const [idle, busy] = [await network.node({ keys }), await network.node({ keys })];
    const answer = Promise.withResolvers<boolean>();
    busy.handlers.awaits = () => answer.promise;
    const fetched = node.exchange.fetch(busy.member, aFetch(), nothing, never);
    await node.exchange.inquire(idle.member, anInquiry(), never);
    // The timer of the sweep keeps no process alive.
    await eventually(() => idle.exchange.connected().length === 0);
    assert.ok(node.exchange.connected().includes(busy.id));
    answer.resolve(true);
    assert.equal((await fetched).kind, 'piece');
    await eventually(() => node.exchange.connected().length === 0);
  });

  it('a member that says nothing until it is given up is asked whether it is there', async (t) => {
    const { node, keys } = await setUp(t, { silenceMs: 60_000, pongMs: 60 });
    const peer = await ProgrammablePeer.start({ keys });
    t.after(() => peer.close());
    peer.behaviour = { kind: 'stall', after: 'question' };
    const leave = async (): Promise<void> => {
      const leaving = new AbortController();
      const before = peer.fetches.length;
      const fetched = node.exchange.fetch(peer.member, aFetch(), nothing, leaving.signal);
      await eventually(() => peer.fetches.length > before);
      leaving.abort(new Error('left'));
      await assert.rejects(fetched, /left/);
    };
    await leave();
    assert.ok(node.exchange.connected().includes(peer.id), 'it answers that it is');
    peer.isDeaf = true;
    await leave();
    await eventually(() => !node.exchange.connected().includes(peer.id));
  });

  it('a node that stood still itself hears what came meanwhile before it gives anybody up', async (t) => {
    const { node, network, keys } = await setUp(t, { silenceMs: 60, pongMs: 60 });
    const thinker = await network.node({ keys });
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<boolean>();
    thinker.handlers.awaits = () => {
      asked.resolve();
      return answer.promise;
    };
    const fetched = node.exchange.fetch(thinker.member, aFetch(), nothing, never);
    await asked.promise;
    for (let i = 0; i < 5; i += 1) {
      const untilMs = performance.now() + 150;
      while (performance.now() < untilMs);
      // Timers have their turn before what has arrived is read.
      await new Promise((next) => setImmediate(next));
    }
    answer.resolve(true);
    assert.equal((await fetched).kind, 'piece');
  });

  it('faults of this side are not held against the other, and end nothing but the question', async (t) => {
    const reasons: string[] = [];
    const { node, network, keys } = await setUp(
      t,
      {},
      { refused: (_transport, _side, reason) => reasons.push(reason) },
    );
    const other = await network.node({ keys });
    const fault = (): never => {
      throw new Error('a fault');
    };
    node.handlers.knows = fault;
    await assert.rejects(other.exchange.inquire(node.member, anInquiry(), never), (error) =>
      hasCode(error, 'peer-unreachable'),
    );
    await assert.rejects(other.exchange.ask(node.member, anAsk(), fault, never), /a fault/);
    await assert.rejects(other.exchange.fetch(node.member, aFetch(), fault, never), /a fault/);
    await other.exchange.ask(node.member, anAsk(), nothing, never);
    await eventually(() => other.pool.out === 0);
    assert.deepEqual(reasons, []);
  });

  it('what is counted are the series of the swarm', async (t) => {
    const metrics = new Metrics();
    const counters: ExchangeCounters = metrics.swarm.exchange;
    const { node, network, keys } = await setUp(t, {}, counters);
    assert.ok(node !== undefined);
    const counted = await network.node({ keys, exchange: { counters } });
    await counted.exchange.fetch(node.member, aFetch(), nothing, never);
    await node.exchange.fetch(counted.member, aFetch(), nothing, never);
    const text = await metrics.registry.metrics();
    for (const line of [
      'damselfly_peer_handshakes_total{transport="tls",side="out"} 1',
      'damselfly_peer_handshakes_total{transport="tls",side="in"} 1',
      `damselfly_peer_received_bytes_total{transport="tls",urgency="demand"} ${PIECE_BYTES}`,
      `damselfly_peer_sent_bytes_total{transport="tls",urgency="demand"} ${PIECE_BYTES}`,
    ])
      assert.ok(text.includes(line), line);
  });
});
