import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { AutoExchange } from '../../../peer/exchange/auto.ts';
import { Caller } from '../../../peer/exchange/caller.ts';
import { refusedBy, unreachable } from '../../../peer/exchange/channel.ts';
import { encodeKnowledge } from '../../../peer/exchange/codec.ts';
import { NO_COUNTERS, type TransportName } from '../../../peer/exchange/counters.ts';
import { FRAME } from '../../../peer/exchange/frame.ts';
import { FrameReader, type FrameSink } from '../../../peer/exchange/frame-reader.ts';
import { DEFAULT_LIMITS } from '../../../peer/exchange/limits.ts';
import { PooledExchange } from '../../../peer/exchange/pooled-exchange.ts';
import { TokenBucket } from '../../../peer/exchange/token-bucket.ts';
import type { PeerId } from '../../../peer/member.ts';
import { hasCode } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { eventually } from '../../support/eventually.ts';
import { CountingPool } from '../../support/peer/counting-pool.ts';
import { absentMember, TlsNetwork, type TlsNode } from '../../support/peer/tls-network.ts';
import { aFetch, anInquiry } from '../../support/peer/words.ts';

const never = new AbortController().signal;

/** Dials as the test says; what can be dialled is a TLS node in truth. */
class Scripted extends PooledExchange {
  dials = 0;
  how: (signal: AbortSignal) => Promise<Caller> = async () => {
    throw unreachable('scripted');
  };

  constructor(name: TransportName) {
    super(name, {
      pool: new CountingPool(),
      log: silentLogger,
      counters: NO_COUNTERS,
      limits: { redialMs: 0 },
    });
  }

  protected connect(_to: unknown, _parts: unknown, signal: AbortSignal): Promise<Caller> {
    this.dials += 1;
    return this.how(signal);
  }
}

/** A connection on which every inquiry is answered. */
function answeringCaller(peer: PeerId): { readonly caller: Caller; readonly heard: { inquiries: number } } {
  const heard = { inquiries: 0 };
  const channel = {
    peer,
    isOpen: true,
    send: (bytes: Buffer) => {
      if (bytes.readUInt8(4) !== FRAME.inquiry) return;
      heard.inquiries += 1;
      const tag = bytes.readUInt32BE(5);
      const body = encodeKnowledge({ ...anInquiry(), size: 7, holders: [], leases: [], isFresh: false });
      queueMicrotask(() => caller.onFrame({ type: FRAME.knowledge, tag, bodyBytes: body.length }, body));
    },
    sendData: async () => undefined,
    pause: () => undefined,
    resume: () => undefined,
    destroy: () => {
      channel.isOpen = false;
      caller.closed(unreachable('destroyed'));
    },
  };
  const sink = {} as FrameSink;
  const caller = new Caller(channel, new FrameReader(sink), {
    transport: 'tls',
    pool: new CountingPool(),
    limits: DEFAULT_LIMITS,
    counters: NO_COUNTERS,
    download: new TokenBucket(Number.POSITIVE_INFINITY),
  });
  return { caller, heard };
}

async function setUp(t: TestContext): Promise<{
  tls: Scripted;
  stream: TlsNode;
  other: TlsNode;
  auto: AutoExchange;
  clock: { ms: number };
}> {
  const network = new TlsNetwork();
  const [stream, other] = [await network.node(), await network.node()];
  const tls = new Scripted('tls');
  const clock = { ms: 0 };
  const auto = new AutoExchange({
    tls,
    stream: stream.exchange,
    againMs: 1000,
    lateAgainMs: 100,
    patienceMs: 30,
    now: () => clock.ms,
  });
  t.after(async () => {
    await auto.close();
    await network.close();
  });
  return { tls, stream, other, auto, clock };
}

describe('sockets or streams', () => {
  it('a member whose data plane cannot be dialled is asked over streams, and over sockets again after a while', async (t) => {
    const { tls, other, auto, clock } = await setUp(t);
    for (let i = 0; i < 3; i += 1) await auto.inquire(other.member, anInquiry(), never);
    assert.equal(tls.dials, 1);
    assert.deepEqual(auto.fallen(), [other.id]);
    clock.ms = 1001;
    assert.deepEqual(auto.fallen(), []);
    await auto.inquire(other.member, anInquiry(), never);
    assert.equal(tls.dials, 2);
  });

  it('asks go on over streams while the data plane is dialled again, and over sockets once it is there', async (t) => {
    const { tls, other, auto, clock } = await setUp(t);
    await auto.inquire(other.member, anInquiry(), never);
    clock.ms = 1001;
    const dialled = Promise.withResolvers<Caller>();
    tls.how = () => dialled.promise;
    for (let i = 0; i < 3; i += 1) await auto.inquire(other.member, anInquiry(), never);
    assert.equal(tls.dials, 2);
    const { caller, heard } = answeringCaller(other.id);
    dialled.resolve(caller);
    await eventually(() => tls.reached().length === 1);
    assert.equal(heard.inquiries, 0);
    await auto.inquire(other.member, anInquiry(), never);
    assert.equal(heard.inquiries, 1);
    assert.equal(tls.dials, 2);
  });

  it('a dial that was only late is tried again soon, and then less and less often', async (t) => {
    const { tls, other, auto, clock } = await setUp(t);
    tls.how = async () => {
      throw unreachable('late', new DOMException('late', 'TimeoutError'));
    };
    const spans: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      const [startMs, { dials }] = [clock.ms, tls];
      await eventually(async () => {
        await auto.inquire(other.member, anInquiry(), never);
        return tls.dials > dials;
      });
      await eventually(() => auto.fallen().length === 1);
      while (auto.fallen().length === 1) clock.ms += 50;
      spans.push(clock.ms - startMs);
    }
    assert.deepEqual(spans, [100, 200, 400, 800, 1000, 1000]);
  });

  it('a member that has a socket of ours is never asked over streams', async (t) => {
    const { tls, other, auto } = await setUp(t);
    const { caller } = answeringCaller(other.id);
    tls.how = async () => caller;
    await auto.inquire(other.member, anInquiry(), never);
    tls.how = (signal) =>
      new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
    // For pieces there is none yet, and the dial is late.
    await assert.rejects(
      auto.fetch(other.member, aFetch(), () => undefined, never),
      (error) => hasCode(error, 'peer-unreachable'),
    );
    assert.equal(other.exchange.connected().length, 0);
    assert.deepEqual(auto.fallen(), []);
  });

  it('a member that cannot be reached either way is unreachable, and is not taken for one behind a closed port', async (t) => {
    const { tls, auto } = await setUp(t);
    const absent = absentMember();
    for (let i = 0; i < 2; i += 1)
      await assert.rejects(auto.inquire(absent, anInquiry(), never), (error) =>
        hasCode(error, 'peer-unreachable'),
      );
    assert.equal(tls.dials, 2);
    assert.deepEqual(auto.fallen(), []);
  });

  it('a member that is refused is asked over nothing', async (t) => {
    const { tls, other, auto } = await setUp(t);
    tls.how = async () => {
      throw refusedBy('scripted');
    };
    await assert.rejects(auto.inquire(other.member, anInquiry(), never), (error) =>
      hasCode(error, 'peer-refused'),
    );
    assert.equal(other.exchange.connected().length, 0);
  });

  it('a dial that takes long holds no question up, and counts when it is through', async (t) => {
    const { tls, other, auto } = await setUp(t);
    const dialled = Promise.withResolvers<Caller>();
    tls.how = () => dialled.promise;
    await auto.inquire(other.member, anInquiry(), never);
    assert.deepEqual(auto.fallen(), []);
    dialled.reject(unreachable('scripted'));
    await new Promise((done) => setImmediate(done));
    assert.deepEqual(auto.fallen(), [other.id]);
  });

  it('who leaves while it is being dialled leaves at once', async (t) => {
    const { tls, other, auto } = await setUp(t);
    tls.how = (signal) =>
      new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
    const leaving = new AbortController();
    const asked = auto.inquire(other.member, anInquiry(), leaving.signal);
    leaving.abort(new Error('left'));
    await assert.rejects(asked, /left/);
  });
});
