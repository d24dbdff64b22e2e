import type { SwarmMetrics } from '../../src/observe/swarm-metrics.ts';
import type { Exchange } from '../exchange.ts';
import type { MemberView, PeerId } from '../member.ts';
import type { Ask, Inquiry, Knowledge, Plan, Report } from '../messages.ts';
import { countOf, NO_PIECES, type PieceMask } from '../piece-mask.ts';
import type { AskHandle, PlannerAction } from '../planner/actions.ts';
import { Planner } from '../planner/planner.ts';
import { Pump } from './pump.ts';

export interface PlannerDeskParts {
  readonly view: MemberView;
  readonly exchange: Pick<Exchange, 'inquire'>;
  readonly metrics: SwarmMetrics;
  /**
   * Before a plan goes to another member: it hears which bytes of the pieces that it is to fetch are known to be right, so
   * that no holder can give it others.
   */
  readonly tellProven: (to: PeerId, plan: Plan, pieces: PieceMask) => Promise<void> | undefined;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
}

interface Open {
  readonly from: PeerId;
  readonly answer: (plan: Plan) => void;
  readonly finish: () => void;
  /** Plans go out in order: one waits until what goes before it has been said. Never rejects. */
  told?: Promise<void>;
}

/** Runs the planner of this node: for others, and for the node itself. */
export class PlannerDesk {
  readonly #parts: PlannerDeskParts;
  readonly #planner: Planner;
  readonly #pump: Pump<PlannerAction>;
  readonly #open = new Map<AskHandle, Open>();
  readonly #stopping = new AbortController();

  constructor(parts: PlannerDeskParts) {
    this.#parts = parts;
    const { view, clock, metrics } = parts;
    this.#planner = new Planner({
      view,
      clock,
      random: Math.random,
      onActions: () => this.#pump.wake(),
      onLeaseEnd: (why) => metrics.planning.leasesEnded(why, 1),
    });
    this.#pump = new Pump(this.#planner, (action) => this.#perform(action), clock);
  }

  get size(): Planner['size'] {
    return this.#planner.size;
  }

  /** Resolves after the final plan, or when the asker leaves. */
  async ask(from: PeerId, ask: Ask, answer: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#stopping.signal.aborted) return;
    this.#parts.metrics.planning.asked('received');
    const handle = this.#planner.ask(from, ask);
    const done = Promise.withResolvers<void>();
    const leave = (): void => {
      this.#planner.withdraw(handle);
      done.resolve();
    };
    this.#open.set(handle, { from, answer, finish: done.resolve });
    signal.addEventListener('abort', leave, { once: true });
    try {
      await done.promise;
    } finally {
      this.#open.delete(handle);
      signal.removeEventListener('abort', leave);
    }
  }

  report(from: PeerId, reports: readonly Report[]): void {
    this.#parts.metrics.planning.reported('received', reports.length);
    this.#planner.report(from, reports);
  }

  inquiry(from: PeerId, inquiry: Inquiry): Knowledge {
    this.#parts.metrics.planning.inquired('received');
    return this.#planner.inquiry(from, inquiry);
  }

  /** Whom this node knows to have a piece of a segment that it plans. */
  holders(name: Inquiry, slot: number): PeerId[] {
    const { holders } = this.#planner.inquiry(this.#parts.view.self.id, name);
    return holders.filter(({ held }) => (held & (1 << slot)) !== 0).map(({ peer }) => peer);
  }

  membersChanged(): void {
    this.#planner.membersChanged();
    this.#pump.wake();
  }

  stop(): void {
    this.#pump.stop();
    this.#stopping.abort();
    for (const { finish } of this.#open.values()) finish();
  }

  #perform(action: PlannerAction): void {
    if (action.kind === 'inquire') {
      void this.#inquire(action);
      return;
    }
    const open = this.#open.get(action.ask);
    if (open === undefined) return;
    const { metrics, tellProven, view } = this.#parts;
    metrics.planning.planned('sent');
    let fetched = NO_PIECES;
    for (const { kind, pieces } of action.plan.assignments) if (kind === 'fetch') fetched |= pieces;
    const isOther = fetched !== NO_PIECES && open.from !== view.self.id;
    const told = isOther ? tellProven(open.from, action.plan, fetched) : undefined;
    for (const assignment of action.plan.assignments) {
      const kind = assignment.kind === 'fetch' ? 'fetch' : assignment.isHedge ? 'hedge' : 'lease';
      metrics.planning.assigned(kind, countOf(assignment.pieces));
    }
    const answer = (): void => {
      open.answer(action.plan);
      if (action.plan.isFinal) open.finish();
    };
    if (told === undefined && open.told === undefined) answer();
    else open.told = Promise.all([open.told, told]).then(answer);
  }

  async #inquire({
    inquiry,
    to,
    question,
    timeoutMs,
  }: Extract<PlannerAction, { kind: 'inquire' }>): Promise<void> {
    const { view, exchange, metrics } = this.#parts;
    let knowledge: Knowledge | null = null;
    const member = view.find(to);
    if (member !== undefined) {
      metrics.planning.inquired('sent');
      const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(timeoutMs)]);
      try {
        knowledge = await exchange.inquire(member, question, signal);
      } catch {
        // Not knowing is an answer as well.
      }
    }
    this.#planner.knowledge(inquiry, knowledge);
  }
}
