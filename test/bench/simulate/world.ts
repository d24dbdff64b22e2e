import type { Member, PeerId } from '../../../peer/member.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { digestNumber, members, REALM, seeded } from '../../peer/planner/support.ts';
import { SimClock } from './clock.ts';
import { Links, port } from './links.ts';
import { readAll } from './readers.ts';
import type { Scenario } from './scenario.ts';
import { SimNode } from './sim-node.ts';

/** Everything that the nodes of one simulation share. */
export class SimWorld {
  readonly scenario: Scenario;
  readonly clock = new SimClock();
  readonly links = new Links(this.clock);
  readonly random: () => number;
  readonly origin;
  readonly blob;
  live: readonly Member[];
  readonly liveById: Map<PeerId, Member>;
  readonly nodes: SimNode[];
  readonly byId: Map<PeerId, SimNode>;
  originPieces = 0;
  duplicates = 0;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.random = seeded(scenario.seed);
    this.origin = port(scenario.originRate);
    const size = scenario.pieces * PIECE_BYTES;
    this.blob = { realm: REALM, digest: digestNumber(scenario.seed), size };
    this.live = members(scenario.nodes, (n) => `zone-${n % scenario.zones}`);
    this.liveById = new Map(this.live.map((member) => [member.id, member]));
    this.nodes = this.live.map((member) => new SimNode(this, member));
    this.byId = new Map(this.nodes.map((node) => [node.id, node]));
  }

  node(id: PeerId): SimNode {
    const node = this.byId.get(id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  /** @returns false when some reader did not finish in time. */
  run(): boolean {
    const { scenario, clock } = this;
    let open = 0;
    for (const node of this.nodes) {
      open += 1;
      node.startedAt = this.random() * scenario.startMs;
      clock.at(node.startedAt, () => {
        if (!node.isDead)
          readAll(node, () => {
            node.doneAt = clock.now;
            open -= 1;
          });
      });
    }
    const dying = Math.floor(scenario.deaths * this.nodes.length);
    const victims = [...this.nodes]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .filter((_, n) => n % Math.max(1, Math.floor(this.nodes.length / Math.max(dying, 1))) === 0)
      .slice(0, dying);
    clock.at(scenario.deathAtMs, () => {
      for (const node of victims) {
        if (node.doneAt === undefined) open -= 1;
        node.die();
      }
    });
    if (dying > 0) {
      clock.at(scenario.deathAtMs + scenario.noticeMs, () => {
        this.live = this.live.filter(({ id }) => !this.node(id).isDead);
        for (const node of victims) this.liveById.delete(node.id);
        for (const node of this.nodes) if (!node.isDead) node.membersChanged();
      });
    }
    return clock.run(() => open === 0, scenario.limitMs);
  }
}
