import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls';
import { encodePieceHead } from '../../../peer/exchange/codec.ts';
import { NO_COUNTERS } from '../../../peer/exchange/counters.ts';
import { FRAME, frame, frameHead, HEAD_BYTES } from '../../../peer/exchange/frame.ts';
import { ALPN, decodeRefusal, encodeHello, type RefusalReason } from '../../../peer/exchange/hello.ts';
import { exporterOf } from '../../../peer/exchange/tls/tls-identity.ts';
import { makeCertificate } from '../../../peer/identity/certificate.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { membershipProof } from '../../../peer/identity/membership-proof.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { PeerId } from '../../../peer/member.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { hasCode } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { eventually } from '../../support/eventually.ts';
import { flawedCertificate } from '../../support/peer/certificates.ts';
import { type Behaviour, ProgrammablePeer } from '../../support/peer/programmable-peer.ts';
import { memberOf, TlsNetwork, type TlsNode } from '../../support/peer/tls-network.ts';
import { aFetch, anAsk, anInquiry, aVoucher } from '../../support/peer/words.ts';

const never = new AbortController().signal;
const nothing = (): void => undefined;
const unreachable = (error: unknown): boolean => hasCode(error, 'peer-unreachable');
const refused = (error: unknown): boolean => hasCode(error, 'peer-refused');

interface Watched {
  readonly node: TlsNode;
  readonly keys: NetworkKeys;
  readonly network: TlsNetwork;
  /** Reasons of refusals, in their order, and how many were logged. */
  readonly refusals: RefusalReason[];
  readonly logged: () => number;
}

/** A node whose refusals are counted. */
async function watched(t: TestContext, limits: Parameters<TlsNetwork['node']>[0] = {}): Promise<Watched> {
  const keys = new NetworkKeys([NetworkKey.generate()]);
  const network = new TlsNetwork();
  t.after(() => network.close());
  const refusals: RefusalReason[] = [];
  let lines = 0;
  const log = Object.assign(Object.create(silentLogger), { warn: () => (lines += 1) });
  const node = await network.node({
    keys,
    ...limits,
    exchange: {
      log,
      counters: { ...NO_COUNTERS, refused: (_transport, _side, reason) => refusals.push(reason) },
      ...limits.exchange,
    },
  });
  return { node, keys, network, refusals, logged: () => lines };
}

/** A TLS client without any of the manners of ours. */
async function rawClient(
  node: TlsNode,
  credentials: { key?: string; cert?: string },
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const [address] = node.member.data;
  assert.ok(address !== undefined);
  const socket = connect({
    ...address,
    ...credentials,
    ALPNProtocols: [ALPN],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...options,
  });
  socket.on('error', nothing);
  await new Promise<void>((done) => socket.once('secureConnect', done).once('close', () => done()));
  return socket;
}

/** All that it says until it hangs up. */
async function lastWords(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(parts);
}

async function reasonOf(socket: Socket): Promise<RefusalReason> {
  return decodeRefusal((await lastWords(socket)).subarray(HEAD_BYTES));
}

function helloOf(socket: TLSSocket, key: NetworkKey, dialler: PeerId, listener: PeerId): Buffer {
  const proof = membershipProof(key, { exporter: exporterOf(socket), role: 'dialler', dialler, listener });
  return frame(FRAME.hello, 0, encodeHello([proof]));
}

describe('a node takes connections of members only, and refuses', () => {
  async function isWell({ node, network, keys }: Watched): Promise<void> {
    const member = await network.node({ keys });
    assert.equal((await member.exchange.inquire(node.member, anInquiry(), never)).size, 7);
  }

  it('who shows no certificate, a flawed one, or another protocol', async (t) => {
    const well = await watched(t);
    const identity = Identity.generate();
    const cases = [
      [{}, {}],
      [await flawedCertificate(identity, { signature: Buffer.alloc(64, 1) }), {}],
      [await flawedCertificate(identity, { to: new Date(Date.now() - 1000) }), {}],
      [await flawedCertificate(identity, { extension: 'absent' }), {}],
    ] as const;
    for (const [{ ...credentials }, options] of cases) {
      const socket = await rawClient(well.node, credentials, options);
      assert.equal(await reasonOf(socket), 'certificate');
    }
    await lastWords(await rawClient(well.node, await makeCertificate(identity), { ALPNProtocols: ['h2'] }));
    await lastWords(await rawClient(well.node, await makeCertificate(identity), { maxVersion: 'TLSv1.2' }));
    assert.equal(
      await reasonOf(await rawClient(well.node, await makeCertificate(identity), { ALPNProtocols: [] })),
      'version',
    );
    await eventually(() => well.refusals.length === cases.length + 3);
    await isWell(well);
  });

  it('who has another network key, or none, and logs it once', async (t) => {
    const well = await watched(t);
    const identity = Identity.generate();
    const credentials = await makeCertificate(identity);
    for (let i = 0; i < 5; i += 1) {
      const socket = await rawClient(well.node, credentials);
      socket.write(
        i === 0
          ? frame(FRAME.hello, 0, encodeHello([]))
          : helloOf(socket, NetworkKey.generate(), identity.id, well.node.id),
      );
      assert.equal(await reasonOf(socket), 'network-key');
    }
    assert.deepEqual(well.refusals, Array(5).fill('network-key'));
    assert.equal(well.logged(), 1);
    await isWell(well);
  });

  it('a first frame that was recorded in another session, or is of another member', async (t) => {
    const well = await watched(t);
    const { node, keys } = well;
    const [member, thief] = [Identity.generate(), Identity.generate()];
    const credentials = await makeCertificate(member);
    const first = await rawClient(node, credentials);
    const hello = helloOf(first, keys.first, member.id, node.id);
    first.write(hello);
    await eventually(() => node.exchange.connected().includes(member.id));
    first.destroy();

    const second = await rawClient(node, credentials);
    second.write(hello);
    assert.equal(await reasonOf(second), 'network-key');

    const third = await rawClient(node, await makeCertificate(thief));
    third.write(helloOf(third, keys.first, member.id, node.id));
    assert.equal(await reasonOf(third), 'network-key');
    assert.deepEqual(well.refusals, ['network-key', 'network-key']);
  });

  it('everything that is said before the hello, whatever it is', async (t) => {
    const well = await watched(t);
    const credentials = await makeCertificate(Identity.generate());
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      frame(FRAME.ask, 1, Buffer.alloc(50)),
      frameHead(FRAME.hello, 0, 100_000),
      frame(FRAME.hello, 0, Buffer.from('not a hello')),
      frameHead(FRAME.data, 1, 1000),
    ]) {
      const socket = await rawClient(well.node, credentials);
      socket.write(bytes);
      assert.equal(await reasonOf(socket), 'protocol');
    }
    assert.deepEqual(well.refusals, Array(5).fill('protocol'));
    assert.equal(well.logged(), 1);
    await isWell(well);
  });

  it('who takes too long: to begin, to shake hands, to say hello', async (t) => {
    const well = await watched(t, { limits: { handshakeMs: 150 } });
    const [address] = well.node.member.data;
    assert.ok(address !== undefined);
    const silent = connectTcp(address);
    const slow = connectTcp(address, () => slow.write(Buffer.from('160301', 'hex')));
    const speechless = await rawClient(well.node, await makeCertificate(Identity.generate()));
    for (const socket of [silent, slow, speechless]) {
      socket.on('error', nothing);
      await lastWords(socket);
    }
    await eventually(() => well.refusals.length >= 3);
    assert.ok(well.refusals.every((reason) => reason === 'timeout'));
    await isWell(well);
  });

  it('more than so many that have proven nothing', async (t) => {
    const well = await watched(t, { limits: { maxUnprovenPerAddress: 3 } });
    const [address] = well.node.member.data;
    assert.ok(address !== undefined);
    const sockets = Array.from({ length: 6 }, () => connectTcp(address).on('error', nothing));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
    });
    await eventually(() => well.refusals.filter((reason) => reason === 'full').length === 3);
    for (const socket of sockets) socket.destroy();
    await eventually(() => isWell(well).then(() => true));
  });

  it('members beyond its bound, unless one is idle and goes', async (t) => {
    const { node, network, keys } = await watched(t, { limits: { maxInbound: 2 } });
    const asked: AbortSignal[] = [];
    node.handlers.asks = (_from, _ask, _answer, signal) => {
      asked.push(signal);
      return new Promise((done) => signal.addEventListener('abort', () => done()));
    };
    const [idle, busy, late, tooLate] = await Promise.all([0, 1, 2, 3].map(() => network.node({ keys })));
    assert.ok(idle !== undefined && busy !== undefined && late !== undefined && tooLate !== undefined);
    await idle.exchange.inquire(node.member, anInquiry(), never);
    const leaving = new AbortController();
    const asks = [assert.rejects(busy.exchange.ask(node.member, anAsk(), nothing, leaving.signal))];
    await eventually(() => asked.length === 1);
    asks.push(assert.rejects(late.exchange.ask(node.member, anAsk(), nothing, leaving.signal)));
    await eventually(() => asked.length === 2);
    assert.equal(node.exchange.connected().includes(idle.id), false);
    await assert.rejects(tooLate.exchange.inquire(node.member, anInquiry(), never), unreachable);
    leaving.abort(new Error('left'));
    await Promise.all(asks);
  });

  it('members that are cut off, in both directions and from now on', async (t) => {
    const cut = new Set<PeerId>();
    const { node, network, keys, refusals } = await watched(t, {
      exchange: { isCutOff: (peer) => cut.has(peer) },
    });
    const liar = await network.node({ keys });
    await liar.exchange.inquire(node.member, anInquiry(), never);
    await node.exchange.inquire(liar.member, anInquiry(), never);
    cut.add(liar.id);
    node.exchange.cutOff(liar.id);
    await eventually(() => node.exchange.connected().length === 0);
    await assert.rejects(node.exchange.inquire(liar.member, anInquiry(), never), refused);
    await assert.rejects(liar.exchange.inquire(node.member, anInquiry(), never), refused);
    assert.ok(refusals.includes('quarantined'));
  });

  it('members that break the protocol, with everything of theirs that is under way', async (t) => {
    const well = await watched(t);
    const { node, keys } = well;
    const asked = Promise.withResolvers<AbortSignal>();
    node.handlers.asks = (_from, _ask, _answer, signal) => {
      asked.resolve(signal);
      return new Promise((done) => signal.addEventListener('abort', () => done()));
    };
    for (const [i, bytes] of [
      frame(FRAME.ask, 7, Buffer.from('nonsense')),
      frame(FRAME.plan, 7, Buffer.alloc(3)),
      frameHead(FRAME.data, 7, 100),
      frame(FRAME.fetch, 7, Buffer.alloc(80)),
    ].entries()) {
      const identity = Identity.generate();
      const socket = await rawClient(node, await makeCertificate(identity));
      socket.write(helloOf(socket, keys.first, identity.id, node.id));
      await eventually(() => node.exchange.connected().includes(identity.id));
      socket.write(bytes);
      await lastWords(socket);
      assert.equal(well.refusals.length, i + 1);
    }
    assert.deepEqual(well.refusals, Array(4).fill('protocol'));
    await isWell(well);
  });

  it('to take a session up again', async (t) => {
    const { node, keys } = await watched(t);
    const identity = Identity.generate();
    const credentials = await makeCertificate(identity);
    const first = await rawClient(node, credentials);
    const tickets: Buffer[] = [];
    first.on('session', (ticket: Buffer) => tickets.push(ticket));
    first.write(helloOf(first, keys.first, identity.id, node.id));
    await once(first, 'data');
    first.destroy();
    for (const session of tickets) {
      const again = await rawClient(node, credentials, { session });
      assert.equal(again.isSessionReused(), false);
      again.destroy();
    }
  });
});

describe('a node that dials', () => {
  /** Somebody who listens, with these credentials, and keeps what is said to it. */
  async function impostor(
    t: TestContext,
    identity: Identity,
    credentials: { key: string; cert: string },
    onHello: (socket: TLSSocket) => Buffer | undefined = () => undefined,
  ): Promise<{ member: ReturnType<typeof memberOf>; said: () => number }> {
    let said = 0;
    const server = createServer(
      { ...credentials, ALPNProtocols: [ALPN], requestCert: true, rejectUnauthorized: false },
      (socket) => {
        socket.on('error', nothing);
        socket.on('data', (bytes: Buffer) => {
          said += bytes.length;
          const answer = onHello(socket);
          if (answer !== undefined) socket.write(answer);
        });
      },
    );
    server.on('tlsClientError', nothing);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const { port } = server.address() as AddressInfo;
    return { member: memberOf(identity.id, [{ host: '127.0.0.1', port }]), said: () => said };
  }

  it('says nothing to whoever is not who was meant', async (t) => {
    const { node } = await watched(t);
    const [meant, other] = [Identity.generate(), Identity.generate()];
    for (const credentials of [
      await makeCertificate(other),
      await flawedCertificate(meant, { signature: other.sign(Buffer.from('x')) }),
      await flawedCertificate(meant, { issuedByOther: true }),
    ]) {
      const { member, said } = await impostor(t, meant, credentials);
      await assert.rejects(node.exchange.fetch(member, aFetch(), nothing, never), refused);
      assert.equal(said(), 0);
    }
  });

  it('asks nothing of whoever has not proven the network key', async (t) => {
    const { node, keys } = await watched(t);
    const meant = Identity.generate();
    const proofOf = (role: 'dialler' | 'listener', key: NetworkKey) => (socket: TLSSocket) => {
      const scene = { exporter: exporterOf(socket), role, dialler: node.id, listener: meant.id };
      return frame(FRAME.hello, 0, encodeHello([membershipProof(key, scene)]));
    };
    const hello = frame(FRAME.hello, 0, encodeHello([Buffer.alloc(32)])).length;
    for (const answer of [
      proofOf('listener', NetworkKey.generate()),
      // What the dialler itself has just sent, sent back.
      proofOf('dialler', keys.first),
      () => frame(FRAME.hello, 0, encodeHello([])),
      () => frame(FRAME.plan, 1, Buffer.alloc(10)),
    ]) {
      const { member, said } = await impostor(t, meant, await makeCertificate(meant), answer);
      await assert.rejects(
        node.exchange.fetch(member, aFetch(), nothing, never),
        (error) => refused(error) || hasCode(error, 'peer-broken'),
      );
      assert.ok(said() <= hello);
    }
  });

  it('gives a member up that does not answer within the dial limit', async (t) => {
    const { node } = await watched(t, { limits: { dialMs: 200 } });
    const meant = Identity.generate();
    const { member } = await impostor(t, meant, await makeCertificate(meant));
    const silent = createTcpServer((socket) => socket.on('error', nothing));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    for (const to of [member, memberOf(meant.id, [{ host: '127.0.0.1', port }]), memberOf(meant.id, [])])
      await assert.rejects(node.exchange.inquire(to, anInquiry(), never), unreachable);
  });

  it('tries all addresses of a member, those that hang beside those that follow', async (t) => {
    const { node, network, keys } = await watched(t, { limits: { nextAddressMs: 20 } });
    const [member, other] = [await network.node({ keys }), await network.node({ keys })];
    const silent = createTcpServer((socket) => socket.on('error', nothing));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    const data = [
      { host: '127.0.0.1', port: 1 },
      ...other.member.data,
      { host: '127.0.0.1', port },
      ...member.member.data,
    ];
    const moved = { ...member.member, data };
    assert.equal((await node.exchange.inquire(moved, anInquiry(), never)).holders[0]?.peer, member.id);
  });

  it('does not dial again at once what it could not dial', async (t) => {
    let dials = 0;
    const { node } = await watched(t, {
      limits: { redialMs: 60_000 },
      exchange: { counters: { ...NO_COUNTERS, dialed: () => (dials += 1) } },
    });
    const absent = memberOf(Identity.generate().id, [{ host: '127.0.0.1', port: 1 }]);
    for (let i = 0; i < 5; i += 1)
      await assert.rejects(node.exchange.inquire(absent, anInquiry(), never), unreachable);
    assert.equal(dials, 1);
  });

  const breaches: readonly (readonly [
    what: string,
    bytes: (tag: number) => Uint8Array,
    isPieceWhole?: boolean,
  ])[] = [
    [
      'bytes of a piece that has not begun',
      (tag) => Buffer.concat([frameHead(FRAME.data, tag, 5), Buffer.alloc(5)]),
    ],
    [
      'bytes of a piece that nobody asked for',
      () => Buffer.concat([frameHead(FRAME.data, 99, 5), Buffer.alloc(5)]),
    ],
    ['an answer to nothing', () => frame(FRAME.gone, 99)],
    ['an answer of another kind', (tag) => frame(FRAME.knowledge, tag, Buffer.alloc(3))],
    ['a frame that nobody knows', (tag) => frame(FRAME.ask, tag, Buffer.alloc(3))],
    ['a piece that begins twice', (tag) => Buffer.concat([pieceHead(tag), pieceHead(tag)])],
    [
      'a piece that is longer than it said',
      (tag) =>
        Buffer.concat([
          pieceHead(tag),
          ...Array<Buffer>(5).fill(
            Buffer.concat([frameHead(FRAME.data, tag, 256 * 1024), Buffer.alloc(256 * 1024)]),
          ),
        ]),
      true,
    ],
    [
      'a piece that is gone after it has begun',
      (tag) => Buffer.concat([pieceHead(tag), frame(FRAME.gone, tag)]),
    ],
    ['a frame that is too long', (tag) => frameHead(FRAME.data, tag, 300_000)],
    ['no frames at all', () => Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')],
  ];
  const pieceHead = (tag: number): Buffer =>
    frame(
      FRAME.piece,
      tag,
      encodePieceHead({ length: PIECE_BYTES, voucher: aVoucher(Identity.generate().id) }),
    );
  for (const [what, bytes, isPieceWhole] of breaches) {
    it(`leaves a member that sends ${what}`, async (t) => {
      const { node, keys } = await watched(t);
      const peer = await ProgrammablePeer.start({ keys });
      t.after(() => peer.close());
      const behaviour: Behaviour = { kind: 'raw', bytes };
      peer.behaviour = behaviour;
      const fetched = node.exchange.fetch(peer.member, aFetch({ size: 9 * PIECE_BYTES }), nothing, never);
      if (isPieceWhole) assert.equal((await fetched).kind, 'piece');
      else await assert.rejects(fetched, (error) => hasCode(error, 'peer-broken'));
      await eventually(() => node.exchange.connected().length === 0);
      peer.behaviour = { kind: 'serve' };
      assert.equal((await node.exchange.fetch(peer.member, aFetch(), nothing, never)).kind, 'piece');
    });
  }

  it('leaves a member that has fallen silent, after it was asked whether it is there', async (t) => {
    const { node, keys } = await watched(t, { limits: { silenceMs: 40, pongMs: 80 } });
    // Says hello and nothing more, not even a pong.
    const meant = Identity.generate();
    let isGreeted = false;
    const { member } = await impostor(t, meant, await makeCertificate(meant), (socket) => {
      if (isGreeted) return undefined;
      isGreeted = true;
      const scene = {
        exporter: exporterOf(socket),
        role: 'listener',
        dialler: node.id,
        listener: meant.id,
      } as const;
      return frame(FRAME.hello, 0, encodeHello([membershipProof(keys.first, scene)]));
    });
    await assert.rejects(node.exchange.ask(member, anAsk(), nothing, never), unreachable);
    assert.ok(isGreeted);
  });

  it('waits for a member that only thinks for long', async (t) => {
    const { node, keys, network } = await watched(t, { limits: { silenceMs: 40, pongMs: 40 } });
    const thinker = await network.node({ keys });
    const answer = Promise.withResolvers<boolean>();
    thinker.handlers.awaits = () => answer.promise;
    const fetched = node.exchange.fetch(thinker.member, aFetch(), nothing, never);
    setTimeout(() => answer.resolve(true), 300);
    assert.equal((await fetched).kind, 'piece');
  });
});

describe('network keys change under way', () => {
  it('without a question being lost, from the old key to the new one', async (t) => {
    const [old, next] = [NetworkKey.generate(), NetworkKey.generate()];
    const network = new TlsNetwork();
    t.after(() => network.close());
    const keys = [0, 1, 2].map(() => new NetworkKeys([old]));
    const [a, b, left] = await Promise.all(keys.map((one) => network.node({ keys: one })));
    assert.ok(a !== undefined && b !== undefined && left !== undefined);
    const everybodyAsks = async (): Promise<void> => {
      await a.exchange.inquire(b.member, anInquiry(), never);
      await b.exchange.inquire(a.member, anInquiry(), never);
      assert.equal((await a.exchange.fetch(b.member, aFetch(), nothing, never)).kind, 'piece');
    };
    await everybodyAsks();
    await left.exchange.inquire(a.member, anInquiry(), never);
    // One node after the other, each stage with questions between.
    for (const stage of [[old, next], [next, old], [next]]) {
      for (const one of keys.slice(0, 2)) {
        one.replace(stage);
        await everybodyAsks();
      }
    }
    await assert.rejects(left.exchange.inquire(a.member, anInquiry(), never), refused);
    await assert.rejects(a.exchange.inquire(left.member, anInquiry(), never), refused);
  });

  it('and what is under way on a connection of the old key is finished', async (t) => {
    const { node, keys, network } = await watched(t);
    const other = await network.node({ keys: new NetworkKeys([keys.first, NetworkKey.generate()]) });
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<boolean>();
    other.handlers.awaits = () => {
      asked.resolve();
      return answer.promise;
    };
    const fetched = node.exchange.fetch(other.member, aFetch(), nothing, never);
    await asked.promise;
    keys.replace([NetworkKey.generate()]);
    answer.resolve(true);
    assert.equal((await fetched).kind, 'piece');
    await eventually(() => node.exchange.connected().length === 0);
  });
});
