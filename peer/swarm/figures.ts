import type { SwarmGauges } from '../../src/observe/swarm-gauges.ts';
import type { ExchangeLoad } from '../exchange/exchange-parts.ts';
import type { Exchange } from '../exchange.ts';
import type { Hunt } from '../hunt/hunt.ts';
import type { Member, MemberView, PeerId } from '../member.ts';
import type { MemberStatus, SwarmStatus } from '../status.ts';
import { totalsOf } from '../status-totals.ts';
import type { Standing } from '../trust/standing.ts';
import type { PlannerDesk } from './planner-desk.ts';
import type { Transfers } from './transfers.ts';

const MAX_SHOWN_MEMBERS = 256;

export interface FiguresParts {
  readonly view: MemberView;
  readonly exchange: Pick<Exchange, 'connected'> & { load(): Pick<ExchangeLoad, 'uploads'> };
  readonly standing: Pick<Standing, 'isQuarantined' | 'score'>;
  readonly hunt: {
    readonly scores: Pick<Hunt['scores'], 'measuredRoundTripMs'>;
    readonly size: Pick<Hunt['size'], 'reading'>;
  };
  readonly desk: { readonly size: Pick<PlannerDesk['size'], 'segments' | 'asks' | 'leases'> };
  readonly transfers: Pick<Transfers, 'bytesOf' | 'running'>;
  readonly listen: SwarmStatus['listen'];
  readonly connections: () => SwarmGauges['connections'];
}

/** What a node shows of its part in the swarm: to people by the status document, to a scrape by its gauges. */
export class Figures {
  readonly #parts: FiguresParts;

  constructor(parts: FiguresParts) {
    this.#parts = parts;
  }

  status(): SwarmStatus {
    const { exchange, listen, desk, transfers } = this.#parts;
    const { self } = this.#parts.view;
    const connected = new Set(exchange.connected());
    const members = this.#others().map((member) => this.#memberStatus(member, connected));
    const rank = { live: 0, suspect: 1, quarantined: 2 };
    members.sort((a, b) => rank[a.state] - rank[b.state] || (a.id < b.id ? -1 : 1));
    const { segments, asks, leases } = desk.size;
    return {
      id: self.id,
      zone: self.zone,
      epoch: self.epoch,
      listen,
      members: members.slice(0, MAX_SHOWN_MEMBERS),
      memberCount: members.length,
      totals: totalsOf(self.zone, members),
      planning: { segments, waiting: asks, leases },
      transfers: transfers.running(),
    };
  }

  gauges(): SwarmGauges {
    const { view, exchange, desk, hunt, connections } = this.#parts;
    const members = { live: 0, suspect: 0, quarantined: 0 };
    for (const { id } of this.#others()) members[this.#stateOf(id)] += 1;
    const { segments, asks, leases } = desk.size;
    return {
      members,
      tableSize: view.live().length,
      connections: connections(),
      uploads: exchange.load().uploads,
      planner: { segments, waiting: asks, leases },
      heldLeases: hunt.size.reading,
    };
  }

  #others(): Member[] {
    const { view } = this.#parts;
    return view.live().filter(({ id }) => id !== view.self.id);
  }

  #stateOf(id: PeerId): MemberStatus['state'] {
    const { standing, view } = this.#parts;
    return standing.isQuarantined(id) ? 'quarantined' : view.isSuspect(id) ? 'suspect' : 'live';
  }

  #memberStatus({ id, zone, data }: Member, connected: ReadonlySet<PeerId>): MemberStatus {
    const { standing, hunt, transfers } = this.#parts;
    const { from, to } = transfers.bytesOf(id);
    return {
      id,
      zone,
      addresses: data.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
      state: this.#stateOf(id),
      connected: connected.has(id),
      receivedBytes: from,
      sentBytes: to,
      rttMs: hunt.scores.measuredRoundTripMs(id) ?? null,
      score: standing.score(id),
    };
  }
}
