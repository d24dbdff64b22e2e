import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PieceFact } from '../../../peer/trust/statement.ts';
import type { Voucher } from '../../../peer/voucher.ts';
import { blobOf, factOf, Keys, lengthOf, REALM, TrustNode } from './support.ts';

const HONEST = 3;
/** Names that the one liar goes by. */
const LIARS = 5;
const PIECES = 2;
const BLOBS = [blobOf(PIECES, 'one'), blobOf(PIECES, 'one'), blobOf(PIECES, 'two')];

/** What may happen, in any order. Numbers are taken modulo what there is. */
type Step =
  | {
      readonly do: 'read' | 'prove' | 'tell' | 'evict';
      readonly node: number;
      readonly blob: number;
      readonly piece: number;
      readonly to: number;
    }
  | {
      readonly do: 'get' | 'whole';
      readonly node: number;
      readonly blob: number;
      readonly piece: number;
      readonly to: number;
    }
  | {
      readonly do: 'lie';
      readonly node: number;
      readonly blob: number;
      readonly piece: number;
      readonly to: number;
      readonly how: Lie;
      readonly as: number;
    };
type Lie = 'send attested' | 'send proven' | 'mark attested' | 'mark proven' | 'accuse' | 'forge';

const place = {
  node: fc.nat(HONEST - 1),
  blob: fc.nat(BLOBS.length - 1),
  piece: fc.nat(PIECES - 1),
  to: fc.nat(HONEST - 1),
};
const lie = fc.record({
  do: fc.constant('lie' as const),
  ...place,
  as: fc.nat(LIARS - 1),
  how: fc.constantFrom<Lie[]>(
    'send attested',
    'send proven',
    'mark attested',
    'mark proven',
    'accuse',
    'forge',
  ),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('read', 'tell', 'evict'), ...place }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('get'), ...place }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('prove', 'whole'), ...place }) },
  { weight: 4, arbitrary: lie },
) as fc.Arbitrary<Step>;

/** Honest nodes, one liar who may say anything, and an origin that is right. */
class Swarm {
  readonly keys = new Keys();
  readonly clock = { nowMs: 0 };
  readonly nodes = Array.from(
    { length: HONEST },
    (_, n) => new TrustNode(this.keys, `honest ${n}`, { clock: this.clock, isListed: n % 2 === 0 }),
  );
  readonly liars = Array.from(
    { length: LIARS },
    (_, n) => new TrustNode(this.keys, `liar ${n}`, { clock: this.clock }),
  );
  /** By node: what it knows from an honest proof, its own or told. */
  readonly knows = this.nodes.map(() => new Set<string>());
  #lies = 0;

  run(steps: readonly Step[]): void {
    for (const one of steps) {
      this.clock.nowMs += 1_000;
      this.#step(one);
      this.#check(one);
    }
  }

  #step(one: Step): void {
    const node = this.#node(one.node);
    const to = this.#node(one.to);
    const blob = BLOBS[one.blob] ?? blobOf(PIECES);
    const fact = factOf(blob, one.piece);
    switch (one.do) {
      case 'read':
        node.reads(fact);
        return;
      case 'evict':
        node.store.remove(blob.digest, one.piece);
        node.trust.lost(blob, 0);
        return;
      case 'prove':
        // A second time where a proven word of somebody made it go.
        for (const piece of [0, 1, 0, 1])
          if (!node.holds(factOf(blob, piece))) node.reads(factOf(blob, piece));
        this.#whole(one.node, blob);
        return;
      case 'whole':
        this.#whole(one.node, blob);
        return;
      case 'tell':
        this.#tell(one.node, one.to, blob);
        return;
      case 'get': {
        const held = node.store.sha256Of(blob.digest, one.piece);
        if (held !== undefined && node !== to) this.#receive(to, node, { ...fact, sha256: held });
        return;
      }
      case 'lie':
        this.#lies += 1;
        this.#lie(one, to, node, factOf(blob, one.piece, this.#lies % 5));
    }
  }

  #node(n: number): TrustNode {
    const found = this.nodes[n];
    if (found === undefined) throw new Error('no such node');
    return found;
  }

  /** The node looks at the whole blob, if it is all there. */
  #whole(n: number, blob: (typeof BLOBS)[number]): void {
    const node = this.#node(n);
    const held = Array.from({ length: PIECES }, (_, piece) => node.store.sha256Of(blob.digest, piece));
    if (held.includes(undefined)) return;
    if (held.every((_, piece) => node.holds(factOf(blob, piece)))) {
      node.store.provenBlobs.add(blob.digest);
      assert.equal(node.trust.proven(blob), true);
      for (let piece = 0; piece < PIECES; piece += 1) this.knows[n]?.add(`${blob.digest} ${piece}`);
    } else {
      node.trust.mismatched(blob);
      node.store.drop(blob);
    }
  }

  #tell(n: number, to: number, blob: (typeof BLOBS)[number]): void {
    if (n === to) return;
    const from = this.#node(n);
    const marks = from.trust.marks(REALM, blob, 0, 0xffff);
    const report = { realm: REALM, ...blob, segment: 0, marks, accused: [] };
    this.#node(to).trust.heard(from.name, {
      ...report,
      accused: from.accused
        .filter(({ place: { blob: about } }) => about === blob)
        .map(({ by }) => ({ slot: 0, by })),
    });
    if (this.#node(to).trust.standing.isQuarantined(from.name)) return;
    for (const { slot, voucher } of marks) {
      const isHonest = voucher.kind === 'proven' && !voucher.by.startsWith('liar');
      if (isHonest) this.knows[to]?.add(`${blob.digest} ${slot}`);
    }
  }

  #receive(to: TrustNode, from: TrustNode, fact: PieceFact): void {
    const voucher = from.trust.voucherFor(fact);
    if (voucher !== null) this.#arrive(to, from, fact, voucher);
  }

  #arrive(to: TrustNode, from: TrustNode, fact: PieceFact, voucher: Voucher): void {
    if (to.trust.receive(from.name, fact, lengthOf(fact), voucher).taken) to.store.store(fact);
  }

  #lie({ how, as }: Extract<Step, { do: 'lie' }>, to: TrustNode, about: TrustNode, fact: PieceFact): void {
    const liar = this.liars[as];
    if (liar === undefined) throw new Error('no such liar');
    const kind = how === 'send proven' || how === 'mark proven' ? 'proven' : 'attested';
    const voucher = liar.notary.vouch(kind, fact);
    const forged = { ...voucher, by: about.name };
    const report = { realm: REALM, digest: fact.digest, size: fact.size, segment: 0 };
    if (how === 'send attested' || how === 'send proven') this.#arrive(to, liar, fact, voucher);
    else if (how === 'accuse')
      to.trust.heard(liar.name, {
        ...report,
        marks: [],
        accused: [{ slot: fact.piece, by: about.name }],
      });
    else {
      const mark = { slot: fact.piece, sha256: fact.sha256, voucher: how === 'forge' ? forged : voucher };
      to.trust.heard(liar.name, { ...report, marks: [mark], accused: [] });
    }
  }

  #check(one: Step): void {
    this.nodes.forEach((node, n) => {
      for (const { peer } of node.quarantined) assert.match(peer, /^liar/, 'only the liar is cut off');
      for (const known of this.knows[n] ?? []) {
        const [digest, piece] = known.split(' ');
        const blob = BLOBS.find((each) => each.digest === digest) ?? blobOf(PIECES);
        const held = node.store.sha256Of(blob.digest, Number(piece));
        const isRight = held === undefined || node.holds(factOf(blob, Number(piece)));
        assert.ok(
          isRight,
          `${node.name} holds a wrong piece ${piece} that it knows to be wrong, after ${one.do}`,
        );
      }
    });
  }
}

test('whatever one liar says under many names, in any order: what an honest proof has shown is never held wrong, and nobody else is cut off', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => new Swarm().run(steps)),
    { seed: 5, numRuns: 250 },
  );
});

test('who has heard of an honest proof is not talked out of it', () => {
  const all = { blob: 0, piece: 0 };
  fc.assert(
    fc.property(fc.array(lie, { maxLength: 12 }), (lies) => {
      const swarm = new Swarm();
      const [before, after] = [lies.slice(0, 4), lies.slice(4)].map((some) =>
        some.map((one) => ({ ...one, blob: 0, node: 0, to: 1 })),
      );
      swarm.run(before ?? []);
      swarm.run([
        { do: 'prove', node: 0, to: 0, ...all },
        { do: 'tell', node: 0, to: 1, ...all },
      ]);
      swarm.run(after ?? []);
    }),
    { seed: 7, numRuns: 600 },
  );
});

test('whoever proves a blob after a wrong word on it cuts the liar off', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.constantFrom('attested', 'proven'), (steps, kind) => {
      const swarm = new Swarm();
      swarm.run(steps);
      const [node] = swarm.nodes;
      const [liar] = swarm.liars;
      const [blob] = BLOBS;
      if (node === undefined || liar === undefined || blob === undefined) throw new Error('nobody there');
      const wrong = factOf(blob, 1, 9);
      swarm.run([{ do: 'prove', node: 0, blob: 0, piece: 0, to: 0 }]);
      node.trust.receive(liar.name, wrong, lengthOf(wrong), liar.notary.vouch(kind, wrong));
      assert.equal(node.trust.standing.isQuarantined(liar.name), true);
    }),
    { seed: 6, numRuns: 100 },
  );
});
