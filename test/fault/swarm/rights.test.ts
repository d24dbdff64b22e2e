import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestNode } from '../../integration/support/node.ts';
import { listing } from '../../integration/support/setup.ts';
import { swarmStatus, TestSwarm } from '../../integration/support/swarm.ts';
import { eventually } from '../../support/eventually.ts';
import { type GetOptions, type HttpAnswer, httpGet } from '../../support/http-get.ts';
import { headerValues, seededBytes, startOrigin, type TestOrigin } from '../../support/origin.ts';
import { costOf, MIB, type SeededBlob } from '../support/reads.ts';

// Nodes in this process: what is at stake are rights and realms, not processes.

const USERS = { alice: 'a-secret', bob: 'b-secret' };
const SIZE = 20 * MIB + 5;
/** A second question in a crowd, or a piece that was on its way when its lease ended. */
const FEW = 1.2;
/** The first byte of a refusal is asked for by GET. */
const NOTHING = 0.001;

const as = (user: keyof typeof USERS): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${USERS[user]}`).toString('base64')}`,
});

const STRANGERS: readonly (readonly [who: string, headers: Record<string, string>])[] = [
  ['nobody', {}],
  ['who may not', as('bob')],
];

const FORMS: readonly (readonly [string, GetOptions])[] = [
  ['GET', {}],
  ['HEAD', { method: 'HEAD' }],
  ['a range', { headers: { Range: `bytes=0-${MIB - 1}` } }],
];

function secretOf(origin: TestOrigin, seed: string): SeededBlob {
  const repository = origin.repository('team/private', { readers: ['alice'] });
  return { ...repository.addBlob({ size: SIZE, seed }), seed };
}

async function get(node: TestNode, path: string, options: GetOptions = {}): Promise<HttpAnswer> {
  return await httpGet(node.url + path, { timeoutMs: 40_000, ...options });
}

function assertRight(answer: HttpAnswer, { seed, size }: SeededBlob): void {
  assert.equal(answer.status, 200);
  assert.ok(answer.complete, `${answer.bytes} bytes, ${answer.failure}`);
  assert.ok(answer.body.equals(seededBytes(seed, { start: 0, end: size })), `wrong bytes of ${seed}`);
}

async function exchanged(node: TestNode): Promise<{ received: number; sent: number }> {
  const totals = (await swarmStatus(node))?.totals;
  return { received: totals?.receivedBytes ?? 0, sent: totals?.sentBytes ?? 0 };
}

describe('a requester whom the origin refuses', () => {
  it('gets nothing of what members have, cold and warm', async () => {
    await using origin = await startOrigin({ auth: 'basic', users: USERS });
    await using swarm = await TestSwarm.start(2, listing(origin));
    const [holder, other] = [swarm.node(0), swarm.node(1)];
    const blob = secretOf(origin, 'secret');
    for (const isHeld of [false, true]) {
      if (isHeld) assertRight(await get(holder, blob.path, { headers: as('alice') }), blob);
      for (const [who, headers] of STRANGERS)
        for (const [form, options] of FORMS) {
          const what = `${who}, by ${form}, ${isHeld ? 'warm' : 'cold'}`;
          const asked = { ...options, headers: { ...options.headers, ...headers } };
          const direct = await httpGet(origin.url + blob.path, asked);
          const through = await get(other, blob.path, asked);
          assert.ok(direct.status === 401 || direct.status === 403, `${what}: ${direct.status}`);
          assert.equal(through.status, direct.status, what);
          assert.deepEqual(
            headerValues(through.rawHeaders, 'www-authenticate'),
            headerValues(direct.rawHeaders, 'www-authenticate'),
          );
          assert.equal(through.header('x-damselfly-source'), undefined, what);
          assert.ok(through.bytes < 2_000, what);
        }
    }
    assert.deepEqual(await exchanged(other), { received: 0, sent: 0 });
    const cost = await costOf(origin, blob, async () =>
      assertRight(await get(other, blob.path, { headers: as('alice') }), blob),
    );
    assert.ok(cost <= NOTHING, `who may costs nothing: ${cost}`);
  });

  it('first, holds nobody up who may', async () => {
    await using origin = await startOrigin({ auth: 'basic', users: USERS });
    await using swarm = await TestSwarm.start(3, listing(origin));
    const blob = secretOf(origin, 'contended');
    const cost = await costOf(origin, blob, async () => {
      const refused = STRANGERS.map(([, headers]) => get(swarm.node(0), blob.path, { headers }));
      const may = swarm.nodes.map((node) => get(node, blob.path, { headers: as('alice') }));
      for (const answer of await Promise.all(refused)) assert.ok([401, 403].includes(answer.status));
      for (const answer of await Promise.all(may)) assertRight(answer, blob);
    });
    assert.ok(cost <= FEW, `${cost} times`);
  });

  it('only when it reads, since its token ran out meanwhile, gives its leases back', async () => {
    await using origin = await startOrigin({ auth: 'token', users: USERS });
    await using swarm = await TestSwarm.start(3, listing(origin));
    const blob = secretOf(origin, 'expired');
    const token = (lifetimeMs?: number) => ({
      Authorization: `Bearer ${origin.issueToken({
        ...{ repository: 'team/private', user: 'alice' },
        ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
      })}`,
    });
    const short = token();
    const known = await get(swarm.node(0), blob.path, { headers: { ...short, Range: 'bytes=0-99' } });
    assert.equal(known.status, 206);
    origin.auth.expireTokens();
    const cost = await costOf(origin, blob, async () => {
      const late = get(swarm.node(0), blob.path, { headers: short });
      const may = swarm.nodes.slice(1).map((node) => get(node, blob.path, { headers: token() }));
      for (const answer of await Promise.all(may)) assertRight(answer, blob);
      const answer = await late;
      if (answer.status === 200) {
        const right = seededBytes(blob.seed, { start: 0, end: answer.bytes });
        assert.ok(answer.body.equals(right), 'wrong bytes');
      } else assert.equal(answer.status, 401);
    });
    assert.ok(cost <= FEW, `${cost} times`);
  });
});

describe('a requester that hangs up', () => {
  it('holds nobody up who goes on', async () => {
    await using origin = await startOrigin({ bytesPerSecond: 20e6 });
    await using swarm = await TestSwarm.start(3, listing(origin));
    const blob = { ...origin.repository('lab/app').addBlob({ size: SIZE, seed: 'left' }), seed: 'left' };
    const cost = await costOf(origin, blob, async () => {
      const left = get(swarm.node(0), blob.path, { abortAfterBytes: MIB });
      await eventually(() =>
        origin.requests.some(({ endpoint, method }) => endpoint === 'blob' && method === 'GET'),
      );
      const stay = swarm.nodes.slice(1).map((node) => get(node, blob.path));
      assert.equal((await left).complete, false);
      for (const answer of await Promise.all(stay)) assertRight(answer, blob);
    });
    assert.ok(cost <= FEW, `${cost} times`);
  });
});

describe('realms', () => {
  it('blobs of an origin that does not share stay on the node', async () => {
    await using origin = await startOrigin();
    const own = { host: origin.host, insecure: true, share: false };
    await using swarm = await TestSwarm.start(2, [
      `origins=${JSON.stringify([own])}`,
      `proxy.defaultOrigin=${origin.url}`,
    ]);
    const blob = { ...origin.repository('lab/app').addBlob({ size: SIZE, seed: 'own' }), seed: 'own' };
    for (const node of swarm.nodes) {
      const cost = await costOf(origin, blob, async () => assertRight(await get(node, blob.path), blob));
      assert.ok(cost >= 1, `each reads for itself: ${cost}`);
    }
    for (const node of swarm.nodes) assert.deepEqual(await exchanged(node), { received: 0, sent: 0 });
  });

  it('what two origins have under one digest never mixes', async () => {
    await using good = await startOrigin({ auth: 'basic', users: USERS });
    await using evil = await startOrigin();
    await using swarm = await TestSwarm.start(3, [
      `origins=${JSON.stringify([good, evil].map(({ host }) => ({ host, insecure: true })))}`,
      `proxy.defaultOrigin=${good.url}`,
    ]);
    const blob = secretOf(good, 'claimed');
    // Others' bytes under its name, and a yes for everybody.
    evil.repository('team/private').addContent(blob.content);
    evil.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 1_000 } });
    const range = { Range: `bytes=0-${2 * MIB - 1}` };
    const right = seededBytes(blob.seed, { start: 0, end: 2 * MIB });
    const lied = `${blob.path}?ns=${evil.host}`;

    const wrong = await get(swarm.node(0), lied, { headers: range });
    assert.equal(wrong.status, 206);
    assert.equal(wrong.body.equals(right), false, 'it lies');
    const owned = await get(swarm.node(1), blob.path, { headers: { ...range, ...as('alice') } });
    assert.ok(owned.body.equals(right), 'the lie of one is not read from the other');

    evil.reset();
    evil.fault({ match: { endpoint: 'blob', method: 'GET' }, action: { status: 503 } });
    const before = await exchanged(swarm.node(2));
    const stolen = await get(swarm.node(2), lied, { headers: range });
    assert.ok(stolen.status >= 500 || !stolen.body.equals(right), "its yes does not give away the other's");
    assert.equal(stolen.body.includes(right.subarray(0, 4_096)), false);
    // From node 0 it may have what is evil's own.
    const { received } = await exchanged(swarm.node(2));
    assert.ok(received - before.received <= 2 * MIB, `${received} bytes`);
  });
});
