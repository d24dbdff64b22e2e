import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Identity } from '../../../peer/identity/identity.ts';
import { eventually } from '../../support/eventually.ts';
import { addressOf, agree, startMember } from './swarm.ts';

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
    await leaving?.stop();
    await eventually(() => agree([first, ...others]), { timeoutMs: 1_500, what: 'the goodbye is known' });
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
});
