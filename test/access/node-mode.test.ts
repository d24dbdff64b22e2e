import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeCredentials } from '../../src/access/access-gate.ts';
import { Credential } from '../../src/blob/credential.ts';
import { DamselflyError } from '../../src/errors.ts';
import { digestNamed, makeWorld, upstreamOf } from './support.ts';

const layer = digestNamed('layer');
const nobody = upstreamOf(undefined);

/** The node's token changes with every request for one. */
function rotating(): NodeCredentials & { asked: number } {
  return {
    asked: 0,
    async credentialFor() {
      this.asked++;
      return Credential.of(`Bearer node ${this.asked}`);
    },
  };
}

function signal(): AbortSignal {
  return new AbortController().signal;
}

test('requester: the credential of the node never serves a request', async () => {
  const nodeCredentials = rotating();
  const { gate, origin } = makeWorld({ mode: 'requester', nodeCredentials });
  assert.equal(gate.effective(nobody), nobody);
  origin.policy = ({ answer }) => answer(401);
  assert.equal((await gate.ask(nobody, layer, signal())).kind, 'refused');
  assert.equal(origin.at(0).who, 'nobody');
  assert.equal(nodeCredentials.asked, 0);
});

test('node: a request without a credential is asked for and read as the node', async () => {
  const { gate, origin } = makeWorld({ mode: 'node', nodeCredentials: rotating() });
  origin.policy = ({ answer }) => answer(200);
  assert.equal((await gate.ask(nobody, layer, signal())).kind, 'granted');
  assert.equal(origin.at(0).who, 'Bearer node 1');
  const upstream = await gate.effective(nobody);
  assert.deepEqual(upstream.credential.headers(), { authorization: 'Bearer node 2' });
  assert.equal(upstream.repository, nobody.repository);
});

test('node: a credential of its own is never replaced, and gains nothing from the rights of the node', async () => {
  const { gate, origin } = makeWorld({ mode: 'node', nodeCredentials: rotating() });
  const eve = upstreamOf('eve');
  assert.equal(gate.effective(eve), eve);
  origin.policy = ({ answer, who }) => answer(who.startsWith('Bearer node') ? 200 : 403);
  await gate.ask(nobody, layer, signal());
  assert.equal(gate.known(nobody, layer), true);
  assert.equal(gate.known(eve, layer), false);
  assert.equal((await gate.ask(eve, layer, signal())).kind, 'refused');
  assert.equal(origin.at(1).who, 'Bearer eve');
});

test('node: the right of the node outlives its token, whichever form of the upstream is asked about', async () => {
  const { gate, origin } = makeWorld({ mode: 'node', nodeCredentials: rotating() });
  const first = await gate.effective(nobody);
  gate.learn(first, layer, 206);
  const second = await gate.effective(nobody);
  assert.equal(gate.known(nobody, layer), true);
  assert.equal(gate.known(first, layer), true);
  assert.equal(gate.known(second, layer), true);
  assert.equal(origin.questions.length, 0);
});

test('node: without a credential for that origin the request stays anonymous', async () => {
  const anonymous: NodeCredentials = { credentialFor: async () => Credential.anonymous };
  const { gate } = makeWorld({ mode: 'node', nodeCredentials: anonymous });
  assert.equal(await gate.effective(nobody), nobody);
});

test('node: no word from the token endpoint is an origin that cannot be asked', async () => {
  const failing: NodeCredentials = {
    credentialFor: async () => {
      throw new DamselflyError('origin-unreachable', 'the token endpoint is down');
    },
  };
  const { gate } = makeWorld({ mode: 'node', nodeCredentials: failing });
  const verdict = await gate.ask(nobody, layer, signal());
  assert.equal(verdict.kind, 'unreachable');
  assert.equal(verdict.error.code, 'rights-unknown');
});

test('rights learned as the node do not count after a change to requester', () => {
  const node = makeWorld({ mode: 'node', nodeCredentials: rotating() });
  node.gate.learn(nobody, layer, 200);
  const requester = makeWorld({ mode: 'requester', facts: node.facts });
  assert.equal(requester.gate.known(nobody, layer), false);
});
