import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { PeerId } from '../../../peer/member.ts';
import type { Membership } from '../../../peer/membership/membership.ts';
import { hasCode } from '../../../src/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { expectNoLeak } from '../../support/leaks.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { NO_METRICS } from './no-metrics.ts';
import { MemberProcess } from './process-swarm.ts';
import { addressOf, agree, startMember } from './swarm.ts';

/** Of a member that has just gone. */
async function freePort(): Promise<string> {
  const afters: (() => Promise<void>)[] = [];
  const member = await startMember({ after: (stop) => void afters.push(stop as () => Promise<void>) });
  const port = addressOf(member).split(':')[1] ?? '';
  for (const stop of afters) await stop();
  return port;
}

describe('Membership', () => {
  it('makes two nodes members of each other by one static address', async (t) => {
    const first = await startMember(t, { zone: 'rack-1' });
    const second = await startMember(t, { zone: 'rack-2', static: [addressOf(first)] });
    await eventually(() => agree([first, second]));
    const seen = first.find(second.self.id);
    assert.deepEqual(seen, second.self);
    assert.equal(seen?.zone, 'rack-2');
    assert.deepEqual(seen?.data, [{ host: '127.0.0.1', port: 4005 }]);
    assert.deepEqual(seen?.control, second.listening());
  });

  it('introduces five nodes that know only one of them, and tells a goodbye to all', async (t) => {
    const first = await startMember(t);
    const others = await Promise.all([1, 2, 3, 4].map(() => startMember(t, { static: [addressOf(first)] })));
    await eventually(() => agree([first, ...others]));
    const leaving = others.pop();
    // Without the goodbye it would have four seconds to object.
    await leaving?.stop();
    await eventually(() => agree([first, ...others]), { timeoutMs: 3_000, what: 'the goodbye is known' });
  });

  it('introduces twenty that start at once', async (t) => {
    const first = await startMember(t);
    const others = await Promise.all(
      Array.from({ length: 19 }, () => startMember(t, { static: [addressOf(first)] })),
    );
    const all = [first, ...others];
    await eventually(() => agree(all), { timeoutMs: 30_000 });
  });

  it('finds members by DNS, on one port and several addresses, and does not mind its own', async (t) => {
    const resolve = async (host: string): Promise<string[]> =>
      host === 'members.svc' ? ['127.0.0.2', '127.0.0.3', '127.0.0.4'] : [];
    const first = await startMember(t, { listen: '/ip4/127.0.0.2/tcp/0' });
    const port = addressOf(first).split(':')[1] ?? '';
    const options = { resolve, dns: [`members.svc:${port}`] };
    const others = await Promise.all(
      [3, 4].map((i) => startMember(t, { ...options, listen: `/ip4/127.0.0.${i}/tcp/${port}` })),
    );
    await eventually(() => agree([first, ...others]));
  });

  it('waits for those that are not up yet', async (t) => {
    const port = await freePort();
    const early = await startMember(t, { static: [`127.0.0.1:${port}`] });
    assert.deepEqual(early.live(), [early.self]);
    const late = await startMember(t, { listen: `/ip4/127.0.0.1/tcp/${port}` });
    await eventually(() => agree([early, late]), { timeoutMs: 10_000 });
  });

  it('tells others the name that it is to be dialled by, and is reached by it', async (t) => {
    const port = await freePort();
    const named = await startMember(t, {
      listen: `/ip4/127.0.0.1/tcp/${port}`,
      announce: [`localhost:${port}`],
      zone: 'z'.repeat(2_000),
    });
    assert.deepEqual(named.self.control, [`/dns/localhost/tcp/${port}`]);
    assert.deepEqual(named.self.data, [{ host: 'localhost', port: 4005 }]);
    const second = await startMember(t);
    named.streams.onStream((_from, stream) => void stream.close());
    const stream = await second.streams.open(named.self, 'control', AbortSignal.timeout(5_000));
    await stream.close();
    const third = await startMember(t, { static: [`127.0.0.1:${port}`] });
    await eventually(() => third.find(named.self.id)?.zone.length === 256);
  });

  it('knows a node that came back by its greater epoch', async (t) => {
    const identity = Identity.generate();
    const first = await startMember(t);
    const before = await startMember(t, { identity, static: [addressOf(first)], wallClock: () => 5_000 });
    await eventually(() => agree([first, before]));
    await before.stop();
    // Its clock went back in between, and it has no file to remember by: the others tell it.
    const after = await startMember(t, { identity, static: [addressOf(first)], wallClock: () => 1_000 });
    await eventually(() => (first.find(identity.id)?.epoch ?? 0) > 5_000);
    assert.deepEqual(first.find(identity.id), after.self);
  });

  it('finds the others after a restart by what it remembers, with a greater epoch', async (t) => {
    const folder = await tempFolder(t);
    const identity = Identity.generate();
    const first = await startMember(t);
    const options = { identity, folder: folder.path };
    const before = await startMember(t, { ...options, static: [addressOf(first)], wallClock: () => 5_000 });
    await eventually(() => agree([first, before]));
    await before.stop();
    const after = await startMember(t, { ...options, wallClock: () => 4_000 });
    assert.equal(after.self.epoch, 5_001);
    await eventually(() => agree([first, after]));
  });

  it('suspects a killed process at once and drops it within seconds', async (t) => {
    const keys = NetworkKeys.insecure();
    const first = await startMember(t, { keys });
    const second = await startMember(t, { keys, static: [addressOf(first)] });
    const child = await MemberProcess.start(t, {
      listen: '/ip4/127.0.0.1/tcp/0',
      static: [addressOf(first)],
    });
    const { id } = child.report;
    await eventually(() => first.find(id) && second.find(id), { timeoutMs: 10_000 });
    await child.process.kill();
    await eventually(() => first.isSuspect(id) && second.isSuspect(id), { timeoutMs: 5_000 });
    await eventually(() => agree([first, second]), { timeoutMs: 15_000 });
  });

  it('calls a member suspect until it is heard of, and tells the end of it', async (t) => {
    const first = await startMember(t);
    const second = await startMember(t, { static: [addressOf(first)] });
    await eventually(() => agree([first, second]));
    const { id } = second.self;
    let changes = 0;
    const forget = first.onChange(() => {
      changes += 1;
    });
    first.suspect(id);
    assert.equal(first.isSuspect(id), true);
    assert.equal(second.isSuspect(id), false);
    first.heardFrom(id);
    assert.equal(first.isSuspect(id), false);
    assert.equal(changes, 1);
    forget();
    first.suspect(id);
    first.heardFrom(id);
    assert.equal(changes, 1);
    first.suspect('nobody' as PeerId);
    assert.equal(first.isSuspect('nobody' as PeerId), false);
  });

  it('gives streams between members for the exchange', async (t) => {
    const first = await startMember(t);
    const second = await startMember(t, { static: [addressOf(first)] });
    await eventually(() => agree([first, second]));
    first.streams.onStream((from, stream) => {
      assert.equal(from, second.self.id);
      stream.addEventListener('message', ({ data }) => void stream.send(data.subarray()));
    });
    const stream = await second.streams.open(first.self, 'control', AbortSignal.timeout(5_000));
    const answer = once(stream, 'message') as Promise<[{ data: Uint8Array }]>;
    stream.send(Buffer.from('hello'));
    const [{ data }] = await answer;
    assert.equal(Buffer.from(data.subarray()).toString(), 'hello');
    await stream.close();

    // Nobody handles streams there: it may be reset before it is even opened here.
    const unwanted = await first.streams
      .open(second.self, 'control', AbortSignal.timeout(5_000))
      .catch(() => undefined);
    await eventually(() => unwanted?.status !== 'open');
  });

  it('keeps pieces off the connection of questions and of signs of life', async (t) => {
    let handshakes = 0;
    const counting = {
      ...NO_METRICS,
      exchange: {
        ...NO_METRICS.exchange,
        handshakeDone: (_transport: unknown, side: string) => {
          if (side === 'out') handshakes += 1;
        },
      },
    };
    const first = await startMember(t, { metrics: counting });
    const second = await startMember(t, { static: [addressOf(first)], metrics: counting });
    await eventually(() => agree([first, second]));
    const shared = handshakes;
    for (const member of [first, second]) member.streams.onStream(() => undefined);
    const signal = AbortSignal.timeout(5_000);
    const open = (from: Membership, to: Membership, lane: 'control' | 'bulk') =>
      from.streams.open(to.self, lane, signal);
    await open(first, second, 'control');
    assert.equal(handshakes, shared);
    await Promise.all([open(first, second, 'bulk'), open(first, second, 'bulk')]);
    assert.equal(handshakes, shared + 1, 'one for the pieces of one direction');
    await open(second, first, 'control');
    await open(first, second, 'control');
    assert.equal(handshakes, shared + 1, 'questions stay on the first one');
    await open(second, first, 'bulk');
    await open(second, first, 'bulk');
    assert.equal(handshakes, shared + 2);
  });

  it('says within a second and some that a member cannot be reached', async (t) => {
    const first = await startMember(t);
    const second = await startMember(t);
    const { self } = second;
    await second.stop();
    const open = first.streams.open(self, 'control', AbortSignal.timeout(5_000));
    await assert.rejects(open, (error) => hasCode(error, 'peer-unreachable'));
    const aborted = first.streams.open(
      self,
      'control',
      AbortSignal.abort(new Error('nobody waits any more')),
    );
    await assert.rejects(aborted, /nobody waits any more/);
    const third = await startMember(t);
    const impostor = first.streams.open(
      { ...self, control: third.self.control },
      'control',
      AbortSignal.timeout(5_000),
    );
    await assert.rejects(impostor, (error) => hasCode(error, 'peer-refused'));
  });

  it('says which address it cannot listen on', async (t) => {
    const first = await startMember(t);
    const listen = `/ip4/127.0.0.1/tcp/${addressOf(first).split(':')[1]}`;
    await assert.rejects(startMember(t, { listen }), (error) => {
      assert.ok(hasCode(error, 'listen-failed'));
      assert.match(error.message, /^peer\.listen: cannot listen on \/ip4.*\(EADDRINUSE\); something else/);
      return true;
    });
  });

  it('leaves nothing open', async (t) => {
    await expectNoLeak(async () => {
      const first = await startMember(t);
      const second = await startMember(t, { static: [addressOf(first), 'unknown.invalid', '127.0.0.1:1'] });
      await eventually(() => agree([first, second]));
      await Promise.all([first.stop(), second.stop()]);
    });
  });
});
