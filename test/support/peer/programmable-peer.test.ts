import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { verifySignature } from '../../../peer/identity/signature.ts';
import { Notary } from '../../../peer/trust/statement.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { hasCode } from '../../../src/errors.ts';
import { eventually } from '../eventually.ts';
import { ProgrammablePeer } from './programmable-peer.ts';
import { TlsNetwork, type TlsNode } from './tls-network.ts';
import { aFetch, anAsk, aPlan, aReport, pieceBytes } from './words.ts';

const never = new AbortController().signal;
const nothing = (): void => undefined;
const judge = new Notary({
  self: Identity.generate().id,
  sign: () => new Uint8Array(0),
  verify: verifySignature,
});

async function setUp(t: TestContext): Promise<{ node: TlsNode; peer: ProgrammablePeer }> {
  const keys = new NetworkKeys([NetworkKey.generate()]);
  const network = new TlsNetwork();
  const node = await network.node({ keys, limits: { silenceMs: 200, pongMs: 200 } });
  const peer = await ProgrammablePeer.start({ keys });
  t.after(() => Promise.all([network.close(), peer.close()]));
  return { node, peer };
}

describe('a programmable peer', () => {
  it('serves right bytes under a good voucher, or wrong ones under its own or a forged one', async (t) => {
    const { node, peer } = await setUp(t);
    const other = Identity.generate().id;
    for (const [behaviour, isRight, isSigned] of [
      [{ kind: 'serve' }, true, true],
      [{ kind: 'lie' }, false, true],
      [{ kind: 'lie', forgedBy: other }, false, false],
    ] as const) {
      peer.behaviour = behaviour;
      const outcome = await node.exchange.fetch(peer.member, aFetch(), nothing, never);
      assert.ok(outcome.kind === 'piece');
      assert.equal(outcome.bytes.equals(pieceBytes(0, PIECE_BYTES)), isRight);
      const sha256 = createHash('sha256').update(outcome.bytes).digest();
      assert.equal(judge.isSigned({ ...aFetch(), sha256 }, outcome.voucher), isSigned);
    }
    assert.equal(peer.fetches.length, 3);
  });

  it('stalls, drips, resets, hangs up', async (t) => {
    const { node, peer } = await setUp(t);
    for (const behaviour of [
      { kind: 'stall', after: 'question' },
      { kind: 'stall', after: 'half' },
      { kind: 'drip', bytes: 100, everyMs: 1 },
    ] as const) {
      peer.behaviour = behaviour;
      const leaving = new AbortController();
      let got = 0;
      const fetched = node.exchange.fetch(peer.member, aFetch(), (bytes) => (got += bytes), leaving.signal);
      const left = assert.rejects(fetched, /left/);
      const before = peer.fetches.length;
      await eventually(() =>
        behaviour.kind === 'stall' && behaviour.after === 'question'
          ? peer.fetches.length >= before
          : got > 500,
      );
      leaving.abort(new Error('left'));
      await left;
    }
    for (const behaviour of [{ kind: 'reset' }, { kind: 'hang up' }] as const) {
      peer.behaviour = behaviour;
      await assert.rejects(node.exchange.fetch(peer.member, aFetch(), nothing, never), (error) =>
        hasCode(error, 'peer-unreachable'),
      );
    }
    await eventually(() => node.pool.out === 0);
  });

  it('claims what it has not, is busy, refuses, plans and tells', async (t) => {
    const { node, peer } = await setUp(t);
    await peer.exchange.report(node.member, [aReport({ held: 0xffff })], never);
    await eventually(() => node.handlers.reports.length === 1);
    peer.behaviour = { kind: 'gone' };
    assert.deepEqual(await node.exchange.fetch(peer.member, aFetch(), nothing, never), { kind: 'gone' });
    peer.behaviour = { kind: 'busy', others: [node.id] };
    assert.deepEqual(await node.exchange.fetch(peer.member, aFetch(), nothing, never), {
      kind: 'busy',
      others: [node.id],
    });
    const plan = aPlan();
    peer.plans = () => [plan];
    await node.exchange.ask(peer.member, anAsk(), (heard) => assert.deepEqual(heard, plan), never);
    assert.deepEqual(peer.asks, [{ from: node.id, ask: anAsk() }]);
    peer.refuses = true;
    peer.hangUp();
    // The kept connection is gone when that has got round; a new one is turned away.
    const fetched = await eventually(() =>
      node.exchange.fetch(peer.member, aFetch(), nothing, never).then(
        () => null,
        (error: unknown) => error,
      ),
    );
    assert.ok(hasCode(fetched, 'peer-refused'));
  });
});
