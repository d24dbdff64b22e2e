import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { AutoExchange } from '../../../peer/exchange/auto.ts';
import type { Caller } from '../../../peer/exchange/caller.ts';
import { refusedBy, unreachable } from '../../../peer/exchange/channel.ts';
import { NO_COUNTERS, type TransportName } from '../../../peer/exchange/counters.ts';
import { PooledExchange } from '../../../peer/exchange/pooled-exchange.ts';
import { hasCode } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { CountingPool } from '../../support/peer/counting-pool.ts';
import { absentMember, TlsNetwork, type TlsNode } from '../../support/peer/tls-network.ts';
import { anInquiry } from '../../support/peer/words.ts';

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
